package main

import (
	"log/slog"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/broker/memory"
	"github.com/x0a1b/promptmq/broker/trouble"
)

// limitMemory returns the options with the figure in the place of limits.memory that stands for
// the default, and makes the garbage collector keep to the limit.
func limitMemory(log *slog.Logger, o broker.Options) broker.Options {
	l, of := &o.Limits, "limits.memory"
	if l.Memory == broker.MemoryDefault {
		l.Memory, of = memory.DefaultLimit()
	}
	switch {
	case l.Memory <= 0 && of == "limits.memory":
		log.Warn("memory is not limited: limits.memory is 0", trouble.MemoryUnlimited)
		return o
	case l.Memory <= 0:
		l.Memory = 0
		log.Warn("memory is not limited, because how much there is cannot be told: set limits.memory", trouble.MemoryUnlimited)
		return o
	}
	memory.SoftLimit(l.Memory)
	log.Info("memory is limited", "limit", l.Memory, "of", of, "key", "limits.memory")
	return o
}
