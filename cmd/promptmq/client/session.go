// Package client is the Client's side of MQTT for the commands: one Session, kept over any number
// of connections.
package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// Options say how a Session is had. The functions are called by one goroutine, in the order of
// the packets, and get Views that end when they return.
type Options struct {
	Dial    func(context.Context) (net.Conn, error)
	Version codec.Version
	Connect codec.Connect
	// Subscribe is asked for at each connection.
	Subscribe      []codec.Subscription
	SubscriptionID uint32
	SubscribeUser  codec.UserProperties
	Unsubscribe    []codec.View
	Disconnect     codec.Disconnect
	// InFlightMax bounds what is sent at QoS 1 and 2 and not yet acknowledged, below the
	// Receive Maximum of the Server. 0: that alone.
	InFlightMax int
	// Reconnect says that a connection that is lost is made again.
	Reconnect bool

	// Message takes a message; may be nil. With an error it has not: the message is not acknowledged,
	// and Run ends with it.
	Message    func(*codec.Publish) (stop bool, err error)
	Subscribed func(reasons []codec.ReasonCode) (stop bool, err error)
	Done       func(topic string, reason codec.ReasonCode) // an answer to a PUBLISH of QoS 1 or 2; may be nil
	Debug      func(format string, args ...any)
	// Lost is told why a connection ended and after which time the next is tried.
	Lost func(err error, again time.Duration)
}

// A Refusal is a CONNACK or DISCONNECT by which the Server ends a connection.
type Refusal struct {
	Packet    codec.PacketType
	Reason    codec.ReasonCode
	Text      string // the Reason String
	Reference string // the Server Reference
}

// Error implements error.
func (r *Refusal) Error() string {
	s := "the broker has ended the connection: "
	if r.Packet == codec.TypeConnack {
		s = "the broker has refused the connection: "
	}
	s += fmt.Sprintf("%v (0x%02X)", r.Reason, byte(r.Reason))
	if r.Text != "" {
		s += fmt.Sprintf(": %q", r.Text)
	}
	if r.Packet == codec.TypeConnack && r.Reason == codec.ConnectionRateExceeded {
		s += "; it says so for a while after several wrong passwords, to the right one too: wait some seconds"
	}
	if r.Reference != "" {
		s += fmt.Sprintf("; it refers to %q", r.Reference)
	}
	return s
}

// passing reports whether it may be otherwise at the next connection.
func (r *Refusal) passing() bool {
	switch r.Reason {
	case codec.ServerUnavailable, codec.ServerBusy, codec.ServerShuttingDown, codec.KeepAliveTimeout,
		codec.ConnectionRateExceeded, codec.MaximumConnectTime, codec.MessageRateTooHigh, codec.ReceiveMaximumExceeded:
		return true
	case codec.UnspecifiedError, codec.AdministrativeAction:
		return r.Packet == codec.TypeDisconnect
	}
	return false
}

// An outgoing message is one of QoS 1 or 2 that is not done.
type outgoing struct {
	p        codec.Publish
	sent     bool // on this connection, or the one before at its beginning
	received bool // PUBREC was: PUBREL is what is to be answered. [MQTT-4.3.3-5]
}

// A Session is what Client and Server hold of each other. Run drives it; the other methods may be
// called by any goroutine.
type Session struct {
	o Options

	mu       sync.Mutex
	changed  chan struct{} // closed and made anew when what is waited for may be so
	conn     net.Conn      // nil: not connected, or not yet ready
	accepted codec.Connack // of this connection, without its Views
	out      []*outgoing   // in the order in which they were sent. [MQTT-4.6.0-1]
	lastID   uint16
	in       map[uint16]bool // QoS 2 between PUBLISH and PUBREL
	ended    error           // why Run has ended
	leaving  bool
	sentAt   time.Time
}

// New returns a Session that is not connected.
func New(o Options) *Session {
	return &Session{o: o, changed: make(chan struct{}), in: make(map[uint16]bool)}
}

func (s *Session) signal() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// errStopped is what ends Run when all is done.
var errStopped = errors.New("client: stopped")

// notTaken is an error of Options.Message.
type notTaken struct{ error }

// ErrEnded says that the Session has no connection any more.
var ErrEnded = errors.New("the connection has ended")

const (
	backOffMin = time.Second
	backOffMax = 30 * time.Second
)

// Run connects, and again if it is to, until ctx ends, Leave or a function says so, or it cannot go on.
func (s *Session) Run(ctx context.Context) error {
	err := s.run(ctx)
	if errors.Is(err, errStopped) {
		err = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended = err; err == nil {
		s.ended = ErrEnded
	}
	s.signal()
	return err
}

func (s *Session) run(ctx context.Context) error {
	wait := backOffMin
	for once := false; ; {
		ready, err := s.connection(ctx, once)
		once = once || ready
		if ready {
			wait = backOffMin
		}
		if failed := new(notTaken); errors.As(err, failed) {
			return failed.error
		}
		if errors.Is(err, errStopped) || ctx.Err() != nil || s.isLeaving() {
			return errStopped
		}
		var refused *Refusal
		if !s.o.Reconnect || !once || (errors.As(err, &refused) && !refused.passing()) {
			return err
		}
		again := wait/2 + rand.N(wait/2+1)
		s.o.Lost(err, again)
		select {
		case <-ctx.Done():
			return errStopped
		case <-time.After(again):
		}
		wait = min(2*wait, backOffMax)
	}
}

func (s *Session) isLeaving() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leaving
}

// lasts reports whether the Session outlives a connection.
func (s *Session) lasts() bool {
	if s.o.Version == codec.Version5 {
		return s.o.Connect.SessionExpirySeconds > 0
	}
	return !s.o.Connect.CleanStart
}

// connection is one connection from beginning to end. ready says that it was accepted.
func (s *Session) connection(ctx context.Context, again bool) (ready bool, err error) {
	conn, err := s.o.Dial(ctx)
	if err != nil {
		return false, err
	}
	defer func() {
		s.mu.Lock()
		s.conn = nil
		s.mu.Unlock()
		_ = conn.Close()
	}()
	defer context.AfterFunc(ctx, func() { s.leave(conn) })()
	c := s.o.Connect
	if again && s.lasts() {
		c.CleanStart = false
	}
	b, err := codec.AppendConnect(nil, &c, s.o.Version)
	if err != nil {
		return false, err
	}
	s.o.Debug("sending CONNECT as %q", c.ClientID)
	if _, err = conn.Write(b); err != nil {
		return false, err
	}
	r := &receiver{s: s, conn: conn, aliases: map[uint16]string{}, keepAlive: time.Duration(c.KeepAliveSeconds) * time.Second}
	r.in.Reset(0)
	r.in.SetVersion(s.o.Version)
	if err = r.connack(); err != nil {
		return false, err
	}
	if r.keepAlive > 0 {
		stop := make(chan struct{})
		defer close(stop)
		go s.ping(conn, r.keepAlive, stop)
	}
	return true, r.receive()
}

// ping sends PINGREQ when nothing else was sent for long. [MQTT-3.1.2-20]
func (s *Session) ping(conn net.Conn, keepAlive time.Duration, stop <-chan struct{}) {
	tick := time.NewTicker(keepAlive / 4)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		s.mu.Lock()
		if time.Since(s.sentAt) >= keepAlive/2 {
			s.o.Debug("sending PINGREQ")
			s.write(conn, codec.AppendPingreq(nil))
		}
		s.mu.Unlock()
	}
}

// write sends a packet. The reader of the connection sees it if that fails. Caller holds s.mu.
func (s *Session) write(conn net.Conn, b []byte) {
	s.sentAt = time.Now()
	if _, err := conn.Write(b); err != nil {
		_ = conn.Close()
	}
}

// Leave ends the Session's connection with DISCONNECT; Run returns nil.
func (s *Session) Leave() {
	s.mu.Lock()
	s.leaving = true
	conn := s.conn
	s.mu.Unlock()
	if conn != nil {
		s.leave(conn)
	}
}

// leaveWithin bounds how long the Server may take to close after DISCONNECT. Closing first could
// throw away what is on its way to it.
const leaveWithin = 2 * time.Second

func (s *Session) leave(conn net.Conn) {
	b, err := codec.AppendDisconnect(nil, &s.o.Disconnect, s.o.Version)
	if err != nil {
		_ = conn.Close()
		return
	}
	_ = conn.SetWriteDeadline(time.Now().Add(leaveWithin)) // also of a write that blocks
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving = true
	s.o.Debug("sending DISCONNECT")
	s.write(conn, b)
	_ = conn.SetReadDeadline(time.Now().Add(leaveWithin))
}
