package broker

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// A filterCounter is a store that notes the most subscriptions of one transaction.
type filterCounter struct {
	Store
	most, all atomic.Int64
}

func (s *filterCounter) Apply(b *session.Batch) error {
	for _, w := range b.Sessions {
		n := int64(len(w.Subscriptions))
		s.most.Store(max(s.most.Load(), n))
		s.all.Add(n)
	}
	return s.Store.Apply(b)
}

// TestLargeSubscribeIsSpread: one packet, however many filters it has, does not make a
// commit that others wait long for.
func TestLargeSubscribeIsSpread(t *testing.T) {
	const filters = 5*filtersPerCommit + 100
	counter := new(filterCounter)
	p := newPathOn(t, func(s Store) Store { counter.Store = s; return counter }, func(*Options) {})
	c := p.connect("c", new(sink), func(c *codec.Connect) { c.HasSessionExpiry, c.SessionExpirySeconds = true, 3600 })
	var names []string
	for i := range filters {
		names = append(names, fmt.Sprint("f/", i))
	}
	p.subscribe(c, 1, names...)
	if err := p.b.commits.Flush(); err != nil {
		t.Fatal(err)
	}
	if n := counter.all.Load(); n != filters {
		t.Errorf("%d subscriptions were stored of %d", n, filters)
	}
	if n := counter.most.Load(); n > filtersPerCommit {
		t.Errorf("one transaction stores %d subscriptions", n)
	}
}
