package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/codec"
)

const (
	// clientsEnd bounds how long Clients may take to read what waits for them when the
	// broker stops, and connsEnd how long their connections may then take to end.
	clientsEnd = 1500 * time.Millisecond
	connsEnd   = 2500 * time.Millisecond
	// shutdownSpread bounds how long Options.ShutdownRate may spread the end of connections
	// over, and shutdownStep is the time between two parts of them.
	shutdownSpread = 2 * time.Second
	shutdownStep   = 5 * time.Millisecond
)

// Shutdown closes the listeners and all connections, as many in a second as
// Options.ShutdownRate says, those of v5 Clients with DISCONNECT 0x8B if
// Options.ShutdownNotice asks for it, commits what is left, and stops. If ctx
// is done before, the error is an *UnfinishedError, and the broker may still use the
// store.
func (b *Broker) Shutdown(ctx context.Context) error {
	b.stopping.Store(true)
	b.stopServing()
	b.commits.End()
	b.network.Stop()
	conns := b.connections()
	held := 0
	for _, c := range conns {
		held += c.out.Held()
	}
	done := make(chan error, 1)
	go func() {
		defer b.recoverPanic("stopping")
		done <- b.shutdown(conns)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	default:
		return b.unfinished(held)
	}
}

func (b *Broker) shutdown(conns []*conn) error {
	close(b.cleanupStop)
	b.stopConns(conns)
	b.timers.shutdown()
	ended := make(chan struct{})
	go func() {
		b.background.Wait()
		close(ended)
	}()
	if !within(clientsEnd, ended) {
		late := b.connections()
		for _, c := range late {
			c.out.Abort()
		}
		if !within(connsEnd, ended) {
			b.log.Warn("connections did not end in time", trouble.ConnectionsLeft, "connections", len(b.connections()))
		} else if len(late) > 0 {
			b.log.Info("clients did not take what was left for them", "connections", len(late))
		}
	}
	b.network.Close()
	b.notices.Close()
	return b.commits.Shutdown()
}

// within reports whether c is closed in that time.
func within(d time.Duration, c <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c:
		return true
	case <-timer.C:
		return false
	}
}

func (b *Broker) connections() []*conn {
	b.mu.Lock()
	defer b.mu.Unlock()
	conns := make([]*conn, 0, len(b.conns))
	for c := range b.conns {
		conns = append(conns, c)
	}
	return conns
}

// stopConns ends connections, so many in a second that not all Clients are back at once. Those
// whose turn has not come are served.
func (b *Broker) stopConns(conns []*conn) {
	each := len(conns)
	if rate := b.options().ShutdownRate; rate > 0 {
		least := len(conns) / int(shutdownSpread/shutdownStep)
		each = max(1, least, rate*int(shutdownStep/time.Millisecond)/1000)
	}
	next := time.Now()
	for i, c := range conns {
		if i > 0 && i%each == 0 {
			next = next.Add(shutdownStep)
			time.Sleep(time.Until(next))
		}
		b.stopConn(c)
	}
}

// stopConn tells a Client that the Server shuts down, if Options say so, and closes.
func (b *Broker) stopConn(c *conn) {
	var last []byte
	c.net().EndWith(codec.ServerShuttingDown)
	if c.marked(greeted) {
		last = c.appendDisconnect(nil, codec.ServerShuttingDown, "")
	}
	c.out.Close(last)
	if c.out.Lingers() {
		c.net().Wake()
	}
}

// An UnfinishedError says what a Shutdown that was cut short has left undone.
// Nothing of it was acknowledged.
type UnfinishedError struct {
	Disk time.Duration // how long the disk has not answered; 0: it is not the disk
	// Messages in queues, Sessions and retained messages were not stored.
	Messages, Sessions, Retained int
	// More says that there is more that could not be counted.
	More bool
	// Acknowledgements were waiting for that when the Shutdown began.
	Acknowledgements int
}

func (e *UnfinishedError) Error() string {
	why := "something in the broker did not end in time"
	if e.Disk > 0 {
		why = fmt.Sprintf("the disk has not finished a commit for %v", e.Disk.Truncate(time.Millisecond))
	}
	more := ""
	if e.More {
		more = " and what could not be counted"
	}
	return fmt.Sprintf("%s: not stored, and not acknowledged, are %d messages in queues, changes of %d sessions, %d retained messages%s; %d acknowledgements were waiting",
		why, e.Messages, e.Sessions, e.Retained, more, e.Acknowledgements)
}

func (b *Broker) unfinished(held int) error {
	e := &UnfinishedError{Disk: b.commits.Waiting(), Acknowledgements: held}
	n, all := b.commits.Unstored()
	e.Messages, e.Sessions, e.Retained, e.More = n.Messages, n.Sessions, n.Retained, !all
	return e
}
