package broker

import (
	"cmp"
	"slices"

	"github.com/x0a1b/promptmq/broker/lock"
)

// A partial is the buffer in which the beginning of a packet waits for the rest.
type partial struct {
	bytes int
	began moment // when the first of them waited
}

// partials are those of debtBytesMin and more. Their zero value is ready.
type partials struct {
	mu lock.Mutex[lock.Leaf] // guards of
	of map[*conn]partial
}

// note says that the beginning of a packet now waits in so many bytes, after it was in so many
// before; 0: none waits. another says that it is not of the same packet as before. A packet
// has its time from when it began: its Client may send just enough to be in time.
func (p *partials) note(c *conn, before, bytes int, now moment, another bool) {
	if before < debtBytesMin && bytes < debtBytesMin { // as nearly always
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if bytes < debtBytesMin {
		delete(p.of, c)
		return
	}
	if was, known := p.of[c]; known && !another {
		now = was.began
	}
	if p.of == nil {
		p.of = make(map[*conn]partial)
	}
	p.of[c] = partial{bytes, now}
}

// takeOldest removes, and returns, those that began first, so that the others have no more than
// so many bytes.
func (p *partials) takeOldest(most int64) (taken []debtor) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]debtor, 0, len(p.of))
	var sum int64
	for c, one := range p.of {
		all = append(all, debtor{c, one.bytes})
		sum += int64(one.bytes)
	}
	slices.SortFunc(all, func(x, y debtor) int { return cmp.Compare(p.of[x.c].began, p.of[y.c].began) })
	for _, d := range all {
		if sum <= most {
			break
		}
		sum -= int64(d.bytes)
		delete(p.of, d.c)
		taken = append(taken, d)
	}
	return taken
}

// closePartials closes connections that have begun large packets, those that began first in
// front, until the beginnings of the others take no more than so many bytes. Nothing of such
// a packet was acknowledged.
func (b *Broker) closePartials(most int64) {
	for _, d := range b.partials.takeOldest(most) {
		b.closeDebtor(d, "connection closed: memory is short, and the client has not sent the rest of a large packet")
	}
}
