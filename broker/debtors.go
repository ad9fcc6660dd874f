package broker

import (
	"cmp"
	"slices"
	"time"

	"github.com/x0a1b/promptmq/broker/trouble"
)

const (
	// debtBytesMin is how much must wait for a connection that is closed for it.
	debtBytesMin = 64 << 10
	// stuckAfter is how long a Client may take nothing while memory is short, and stuckEvery
	// how often that is looked at.
	stuckAfter, stuckEvery = 4 * time.Second, time.Second
)

// A debtor is a connection and how many bytes wait for it.
type debtor struct {
	c     *conn
	bytes int
}

// debtors returns the connections for which much waits.
func (b *Broker) debtors() (all []debtor) {
	for _, c := range b.connections() {
		if n, _ := c.out.Waiting(); n >= debtBytesMin {
			all = append(all, debtor{c, n})
		}
	}
	return all
}

// closeDebtors closes the connections for which most waits, until that is so many bytes.
// Their Sessions stay.
func (b *Broker) closeDebtors(bytes int64) {
	all := b.debtors()
	slices.SortFunc(all, func(x, y debtor) int { return cmp.Compare(y.bytes, x.bytes) })
	for _, d := range all {
		if bytes <= 0 {
			break
		}
		bytes -= int64(d.bytes)
		b.closeDebtor(d, "connection closed: memory is short, and much waits for the client")
	}
}

func (b *Broker) closeDebtor(d debtor, msg string) {
	remote := d.c.net().RemoteAddr().String()
	d.c.mark(overloaded)
	d.c.out.Abort()
	b.m.OverloadClosed.Inc()
	b.notices.Warn("closed for memory", remote, msg, trouble.ClosedForMemory, "remote", remote, "waiting", d.bytes, "key", "limits.memory")
}

// stuck are the debtors whose Clients take nothing: what was being written when that was first
// seen, and when.
type stuck struct {
	since map[*conn]stillness
	at    time.Time // of the last look
}

type stillness struct {
	unsent int
	since  time.Time
}

// closeStuck closes the debtors whose Clients have taken nothing for stuckAfter, which is less
// than the write timeout: others wait for the memory that they hold. Their Sessions stay.
func (b *Broker) closeStuck(now time.Time) {
	s := &b.overload.stuck
	if now.Sub(s.at) < stuckEvery {
		return
	}
	s.at = now
	still := make(map[*conn]stillness)
	for _, d := range b.debtors() {
		_, unsent := d.c.out.Waiting()
		was, known := s.since[d.c]
		switch {
		case unsent == 0:
		case !known || was.unsent != unsent:
			still[d.c] = stillness{unsent, now}
		case now.Sub(was.since) >= stuckAfter:
			b.closeDebtor(d, "connection closed: memory is short, and the client takes nothing of what waits for it")
		default:
			still[d.c] = was
		}
	}
	s.since = still
}
