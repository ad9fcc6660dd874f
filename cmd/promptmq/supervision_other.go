//go:build !linux

package main

import (
	"log/slog"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/metrics"
)

// A supervision is nothing where there is no systemd. See supervision_linux.go.
type supervision struct{}

func supervise(*slog.Logger, *metrics.Broker) *supervision { return nil }

func (*supervision) ready(*broker.Broker) {}
func (*supervision) reloading()           {}
func (*supervision) reloaded(error)       {}
func (*supervision) stopping()            {}

func (*supervision) handingOver() {}

func (*supervision) handedOver() {}

func (*supervision) isNow(int) {}
