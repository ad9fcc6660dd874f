package commit

import (
	"sync"
	"sync/atomic"

	"github.com/x0a1b/promptmq/session"
)

// A group is what one transaction will write, and who waits for it.
type group struct {
	number   uint64
	reserved atomic.Int64 // see space
	// awaited counts the entries that were sent and may be acknowledged before
	// they are written; firm says that there is something else to write, which
	// somebody may wait for.
	awaited      atomic.Int64
	firm         atomic.Bool
	acknowledged chan struct{} // has something when awaited has come to 0

	mu      sync.Mutex // guards the following
	batch   *session.Batch
	waiters []Waiter
	done    chan struct{} // closed after the commit; made by the first that asks
	sealed  chan struct{} // closed when the group is not the open one; made by the first that asks
	lazy    bool          // a timer will commit it
}

func newGroup(number uint64) *group {
	return &group{number: number, batch: session.NewBatch(), acknowledged: make(chan struct{}, 1)}
}

// put puts the writes of one Session into the group.
func (g *group) put(id session.ID, w *session.Writes) {
	g.mu.Lock()
	g.batch.Sessions[id] = w
	g.mu.Unlock()
}

// noteStruck counts an entry of g as not to be written. receipt is its Receipt, or nil;
// it is returned if it became complete by an acknowledgement.
func (g *group) noteStruck(receipt any, acknowledged bool) *Receipt {
	if g.awaited.Add(-1) == 0 {
		select {
		case g.acknowledged <- struct{}{}:
		default:
		}
	}
	if r, ok := receipt.(*Receipt); ok && acknowledged && r.count() {
		return r
	}
	return nil
}

// Number is the number of the open group. The caller holds the gate.
func (c *Committer) Number() uint64 { return c.open.number }

// remove takes the writes of a Session out of the group.
func (g *group) remove(id session.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.batch.Sessions, id)
}

// SetRetained puts the change of a retained message into the open group. The caller
// holds the gate.
func (c *Committer) SetRetained(topic string, w session.RetainedWrite) {
	g := c.open
	g.mu.Lock()
	g.batch.Retained[topic] = w
	g.mu.Unlock()
	g.firm.Store(true)
}
