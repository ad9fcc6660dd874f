package doctor

import (
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/broker/memory"
	"github.com/x0a1b/promptmq/store"
)

const aboutFiles, aboutClock, aboutMemory, aboutProcessors, aboutKernel = "open files", "clock", "memory", "processors", "kernel"

// files compares the limit of open files with the connections that there may be.
func (e *Examination) files() {
	allowed, limit, known := link.FilesAllow(len(e.listeners()), e.FilesBeside)
	wanted := e.Config.Broker.MaxConnections
	switch {
	case !known:
		e.say(OK, aboutFiles, "", "there is no limit that is known")
	case allowed < int64(wanted):
		e.say(Warning, aboutFiles, "raise it (ulimit -n, LimitNOFILE= in a unit of systemd), or lower mqtt.max-connections",
			"the limit of %s here allows %s connections, and mqtt.max-connections is %s", inspect.CountText(limit), inspect.CountText(allowed), inspect.CountText(wanted))
	default:
		e.say(OK, aboutFiles, "", "the limit of %s here is enough for mqtt.max-connections, %s", inspect.CountText(limit), inspect.CountText(wanted))
	}
}

// clockSlack is how far a file may be ahead of the clock.
const clockSlack = time.Minute

// clock compares it with the files of the store, which were written before now.
func (e *Examination) clock() {
	now := time.Now()
	for _, file := range []string{store.File(e.Config.Store.DataDir), store.File(e.Config.Store.DataDir) + "-wal"} {
		if info, err := os.Stat(file); err == nil && info.ModTime().After(now.Add(clockSlack)) {
			e.say(Warning, aboutClock, "set the clock: with one that is behind, sessions and messages live longer than they should", "it is %s, and %s was written at %s",
				now.Format(time.RFC3339), file, info.ModTime().Format(time.RFC3339))
			return
		}
	}
	if is, known := synchronised(); known && !is {
		e.say(Note, aboutClock, "run an NTP client, such as systemd-timesyncd or chrony: certificates, tokens and expiry need the right time", "it is %s, and nothing sets this clock", now.Format(time.RFC3339))
		return
	}
	e.say(OK, aboutClock, "", "it is %s", now.Format(time.RFC3339))
}

const (
	memoryLeast = 64 << 20
	// connectionBytes is about what an idle connection with its session takes.
	connectionBytes = 16 << 10
)

// memory compares what there is with what the configuration allows.
func (e *Examination) memory() {
	limit, of := memory.DefaultLimit()
	is := e.Config.Broker.Limits.Memory
	there := limit / 80 * 100
	switch {
	case limit == 0:
		e.say(OK, aboutMemory, "", "how much there is cannot be told; limits.memory is what holds")
		return
	case is == 0:
		e.say(Warning, aboutMemory, "set limits.memory to -1, or to what the broker may have", "limits.memory is 0: a flood may take all memory, and the kernel ends the broker")
		return
	case is > there:
		e.say(Warning, aboutMemory, "lower limits.memory, or give it more", "limits.memory is %s, and there are %s (%s)", inspect.BytesText(is), inspect.BytesText(there), of)
		return
	case is == broker.MemoryDefault:
		is = limit
	}
	cache := int64(-e.Config.Store.CacheSize) << 10
	if cache < 0 {
		cache = int64(e.Config.Store.CacheSize) * 8192
	}
	needed := int64(e.Config.Broker.MaxConnections)*connectionBytes + cache
	switch {
	case is < memoryLeast:
		e.say(Warning, aboutMemory, "give it more, or expect clients to be refused", "the broker may have %s", inspect.BytesText(is))
	case e.Config.Broker.MaxQueuedBytes > is:
		e.say(Warning, aboutMemory, "lower mqtt.max-queued-bytes, or give it more", "the broker may have %s (%s), and the queue of one session that ends with its connection, which is in memory, %s (mqtt.max-queued-bytes)",
			inspect.BytesText(is), of, inspect.BytesText(e.Config.Broker.MaxQueuedBytes))
	case needed > is:
		e.say(Warning, aboutMemory, "lower mqtt.max-connections or storage.sqlite.cache-size, or give it more", "the broker may have %s (%s), and %s connections with the cache of the store need about %s",
			inspect.BytesText(is), of, inspect.CountText(e.Config.Broker.MaxConnections), inspect.BytesText(needed))
	default:
		e.say(OK, aboutMemory, "", "the broker may have %s (%s)", inspect.BytesText(is), of)
	}
}

// processors says how many there are for this process.
func (e *Examination) processors() {
	quota := processorQuota()
	switch {
	case quota > 0 && quota < 1:
		e.say(Note, aboutProcessors, "give it one at least if messages come in late", "the control group gives %.2g of a processor", quota)
	case quota > 0:
		e.say(OK, aboutProcessors, "", "the control group gives %.3g of %d", quota, runtime.NumCPU())
	default:
		e.say(OK, aboutProcessors, "", "%d", runtime.NumCPU())
	}
}

// processorQuota is the least of the control groups; 0: there is none.
func processorQuota() (least float64) {
	text, _ := os.ReadFile("/proc/self/cgroup") // none elsewhere
	for line := range strings.Lines(string(text)) {
		group, found := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !found {
			continue
		}
		for dir := path.Clean("/" + group); ; dir = path.Dir(dir) {
			quota, _ := os.ReadFile(path.Join("/sys/fs/cgroup", dir, "cpu.max"))
			fields := strings.Fields(string(quota))
			if len(fields) == 2 {
				most, err := strconv.ParseFloat(fields[0], 64)
				period, errPeriod := strconv.ParseFloat(fields[1], 64)
				if err == nil && errPeriod == nil && (least == 0 || most/period < least) {
					least = most / period
				}
			}
			if dir == "/" {
				break
			}
		}
	}
	return least
}

// backlogLeast is how many connections should be able to wait to be accepted.
const backlogLeast = 1024

// kernel looks at what bounds a burst of connections.
func (e *Examination) kernel() {
	text, err := os.ReadFile("/proc/sys/net/core/somaxconn")
	if err != nil {
		return
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return
	}
	if n < backlogLeast {
		e.say(Note, aboutKernel, "sysctl -w net.core.somaxconn=4096", "net.core.somaxconn is %d: of more clients that connect at once some wait for seconds", n)
		return
	}
	e.say(OK, aboutKernel, "", "net.core.somaxconn is %d", n)
}
