package broker

import (
	"math"
	"time"

	"github.com/x0a1b/promptmq/metrics"
)

// What $SYS/broker/load is about.
const (
	loadMessagesIn = iota // packets of any type
	loadMessagesOut
	loadPublishIn
	loadPublishOut
	loadPublishDropped
	loadBytesIn
	loadBytesOut
	loadSockets
	loadConnections // CONNECT packets
	numLoads
)

var loadNames = [numLoads]string{
	"messages/received", "messages/sent", "publish/received", "publish/sent", "publish/dropped", "bytes/received", "bytes/sent", "sockets", "connections",
}

// loadSpans are what the averages are over.
var loadSpans = [...]struct {
	name    string
	seconds float64
}{{"1min", 60}, {"5min", 300}, {"15min", 900}}

// sysLoads are how many of each there are in a minute: exponential averages, as Mosquitto
// computes them.
type sysLoads struct {
	at       time.Time // of counts; zero: there are none
	counts   [numLoads]int64
	averages [numLoads][len(loadSpans)]float64
	begun    bool
}

// update takes what was counted until now.
func (l *sysLoads) update(counts [numLoads]int64, now time.Time) {
	elapsed := now.Sub(l.at).Seconds()
	if !l.at.IsZero() && elapsed > 0 {
		for i := range counts {
			rate := float64(counts[i]-l.counts[i]) * 60 / elapsed
			for j, span := range loadSpans {
				a := &l.averages[i][j]
				if l.begun {
					*a = rate + math.Exp(-elapsed/span.seconds)*(*a-rate)
				} else {
					*a = rate
				}
			}
		}
		l.begun = true
	}
	l.at, l.counts = now, counts
}

// sysCounts are what was counted since the start.
func (b *Broker) sysCounts() (n [numLoads]int64) {
	m := b.m
	n[loadMessagesIn], n[loadMessagesOut] = int64(m.PacketsReceived.Get()), int64(m.PacketsSent.Get())
	n[loadPublishIn], n[loadPublishOut] = sumOf(m.MessagesReceived[:]), sumOf(m.MessagesSent[:])
	n[loadPublishDropped] = sumOf([]*metrics.Counter{m.Dropped[metrics.DropSlowConsumer], m.Dropped[metrics.DropQueueNewest], m.Dropped[metrics.DropQueueOldest]})
	n[loadBytesIn], n[loadBytesOut] = int64(m.BytesReceived.Get()), int64(m.BytesSent.Get())
	n[loadSockets], n[loadConnections] = int64(m.ConnectionsTotal.Get()), b.connects.Load()
	return n
}

func sumOf(counters []*metrics.Counter) (sum int64) {
	for _, c := range counters {
		sum += int64(c.Get())
	}
	return sum
}
