package conformance

import (
	"crypto/rand"
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// A peer is a raw client: it can send any bytes, and it holds each packet of the
// broker against the rules that hold at all times (see inspect).
type peer struct {
	t       *T
	net     net.Conn
	version codec.Version
	r       codec.Reader
	connect codec.Connect
	connack codec.Connack // what the broker answered

	inbox    []*packet       // come and not yet taken
	inflight map[uint16]bool // Packet Identifiers of the broker that this peer has not acknowledged to the end
	filters  map[string]bool // that this session has or had
	resumed  bool            // the session may have filters that are not in the map
	lastID   uint16          // Packet Identifier used last
	calm     string          // the topic that quiet uses, once subscribed
	ended    *packet         // the DISCONNECT of the broker
	sent     []byte          // last
	greeted  bool            // CONNACK has come
	aliases  map[uint16]string
}

var uniqueMu sync.Mutex

// unique returns a name that no other run uses.
func unique(prefix string) string {
	uniqueMu.Lock()
	defer uniqueMu.Unlock()
	return prefix + rand.Text()[:12]
}

// topic returns a Topic Name that only this test uses.
func (t *T) topic() string { return unique("conformance/") }

// clientID returns a Client Identifier that every server must take.
// [MQTT-3.1.3-5]
func (t *T) clientID() string { return unique("conformance") }

// dial opens a Network Connection and sends nothing.
func (t *T) dial() *peer {
	t.Helper()
	nc, err := open(t.target.url)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return t.peerOn(nc)
}

func (t *T) peerOn(nc net.Conn) *peer {
	p := &peer{t: t, net: nc, version: t.version, inflight: map[uint16]bool{}, filters: map[string]bool{}}
	p.r.Reset(0)
	t.Cleanup(func() { _ = nc.Close() })
	return p
}

// newConnect is a CONNECT with Clean Start for a new Client Identifier.
func (t *T) newConnect() codec.Connect {
	return codec.Connect{ClientID: codec.View(t.clientID()), CleanStart: true, ReceiveMaximum: 65535,
		RequestProblemInformation: true, KeepAliveSeconds: 60}
}

// connect opens a session; changes may alter the CONNECT. The broker must
// accept it.
func (t *T) connect(changes ...func(*codec.Connect)) *peer {
	t.Helper()
	p := t.tryConnect(changes...)
	if p.connack.Reason != 0 {
		t.Fatalf("CONNECT is refused: %v", p.connack.Reason)
	}
	return p
}

// tryConnect is connect where the broker may refuse.
func (t *T) tryConnect(changes ...func(*codec.Connect)) *peer {
	t.Helper()
	p := t.dial()
	p.handshake(changes...)
	return p
}

// refused is tryConnect where the broker may also close without CONNACK.
func (t *T) refused(changes ...func(*codec.Connect)) (p *peer, said bool) {
	t.Helper()
	p = t.dial()
	p.connect = t.newConnect()
	for _, change := range changes {
		change(&p.connect)
	}
	p.append(codec.AppendConnect(nil, &p.connect, p.version))
	got, err := p.read(soon())
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("CONNECT is neither answered nor refused")
	}
	if err != nil {
		return p, false
	}
	p.connack = got.connack
	return p, true
}

func (p *peer) handshake(changes ...func(*codec.Connect)) {
	p.t.Helper()
	p.connect = p.t.newConnect()
	for _, change := range changes {
		change(&p.connect)
	}
	p.append(codec.AppendConnect(nil, &p.connect, p.version))
	p.connack = p.await(codec.TypeConnack).connack
	p.resumed = p.connack.SessionPresent
}

// durable makes a CONNECT ask for a session that outlives the connection, and
// sees to it that the session is gone after the test.
func (t *T) durable(id string) func(*codec.Connect) {
	forget := sync.OnceFunc(func() {
		t.Cleanup(func() { t.forget(id) })
	})
	return func(c *codec.Connect) {
		forget()
		c.ClientID, c.CleanStart = codec.View(id), false
		c.HasSessionExpiry, c.SessionExpirySeconds = true, 300
	}
}

// clean makes a CONNECT start a new session.
func clean(c *codec.Connect) { c.CleanStart = true }

// forget ends a session, as far as the broker still takes connections.
func (t *T) forget(id string) {
	nc, err := open(t.target.url)
	if err != nil {
		return
	}
	defer nc.Close()
	c := codec.Connect{ClientID: codec.View(id), CleanStart: true, RequestProblemInformation: true, ReceiveMaximum: 65535}
	b, err := codec.AppendConnect(nil, &c, t.version)
	if err != nil {
		return
	}
	_ = nc.SetDeadline(time.Now().Add(cleanupSeconds * time.Second))
	_, _ = nc.Write(b)
	_, _ = nc.Read(make([]byte, 256)) // CONNACK: the old session is gone
}

// append sends what an Append function of the codec made.
func (p *peer) append(b []byte, err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatalf("the suite cannot encode: %v", err)
	}
	p.send(b...)
}

// send sends bytes as they are. That the broker has closed already is for the
// next read to find.
func (p *peer) send(b ...byte) {
	p.t.Helper()
	p.sent = b
	if err := p.net.SetWriteDeadline(time.Now().Add(answerTime)); err != nil {
		p.t.Fatalf("%v", err)
	}
	if _, err := p.net.Write(b); errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Fatalf("the broker takes no bytes")
	}
}

// read takes the next packet from the socket.
func (p *peer) read(deadline time.Time) (*packet, error) {
	p.t.Helper()
	for {
		f, err := p.r.Next()
		if err == nil {
			packet, err := decodePacket(f, p.version)
			if err != nil {
				p.t.Fatalf("the broker sends what breaks the format, %02x %s: %v", f.First, hex(f.Body), err)
			}
			p.inspect(packet, f.Size())
			return packet, nil
		}
		if err != codec.ErrIncomplete {
			p.t.Fatalf("the broker sends what breaks the format: %v", err)
		}
		if err := p.net.SetReadDeadline(deadline); err != nil {
			return nil, err
		}
		n, err := p.net.Read(p.r.Room())
		if err != nil {
			return nil, err
		}
		p.r.Wrote(n)
	}
}

func soon() time.Time { return time.Now().Add(answerTime) }

// next returns the next packet, of whatever type.
func (p *peer) next() *packet {
	p.t.Helper()
	if len(p.inbox) > 0 {
		first := p.inbox[0]
		p.inbox = p.inbox[1:]
		return first
	}
	got, err := p.read(soon())
	if err != nil {
		p.t.Fatalf("waiting for a packet: %v", p.why(err))
	}
	return got
}

func (p *peer) why(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("no answer")
	}
	if p.ended != nil {
		return errors.New("the broker closed the connection: " + p.ended.String())
	}
	return errors.New("the broker closed the connection")
}

// await returns the next packet of type typ. Others that come before it stay
// for their own await.
func (p *peer) await(typ codec.PacketType) *packet {
	p.t.Helper()
	if i := slices.IndexFunc(p.inbox, func(q *packet) bool { return q.typ == typ }); i >= 0 {
		found := p.inbox[i]
		p.inbox = slices.Delete(p.inbox, i, i+1)
		return found
	}
	deadline := soon()
	for {
		got, err := p.read(deadline)
		if err != nil {
			p.t.Fatalf("waiting for %v: %v", typ, p.why(err))
		}
		if got.typ == typ {
			return got
		}
		p.inbox = append(p.inbox, got)
	}
}

// closed checks that the broker ends the Network Connection. If it says why, in
// DISCONNECT or CONNACK, that must be an error, and one of the reasons if some
// are given.
func (p *peer) closed(reasons ...codec.ReasonCode) {
	p.t.Helper()
	reason, said := p.end()
	if !said {
		return
	}
	if p.version == codec.Version5 && reason < 0x80 || reason == 0 {
		p.t.Errorf("closed with %v, which is no error", reason)
	}
	if len(reasons) > 0 && p.version == codec.Version5 && !slices.Contains(reasons, reason) {
		p.t.Errorf("closed with %v, expected one of %v", reason, reasons)
	}
}

// end waits until the broker ends the Network Connection and returns the Reason
// Code of its DISCONNECT or refusing CONNACK, if it sent one.
func (p *peer) end() (reason codec.ReasonCode, said bool) {
	p.t.Helper()
	pending := p.inbox
	p.inbox = nil
	deadline := soon()
	for {
		var got *packet
		if len(pending) > 0 {
			got, pending = pending[0], pending[1:]
		} else {
			var err error
			if got, err = p.read(deadline); errors.Is(err, os.ErrDeadlineExceeded) {
				p.t.Fatalf("the broker leaves the connection open after %s", hex(p.sent))
			} else if err != nil {
				if p.ended != nil {
					return p.ended.disconnect.Reason, true
				}
				return reason, said
			}
		}
		if got.typ == codec.TypeConnack {
			reason, said = got.connack.Reason, true
		}
	}
}

// isOpen checks that the broker still serves the connection.
func (p *peer) isOpen() {
	p.t.Helper()
	p.append(codec.AppendPingreq(nil), nil)
	p.await(codec.TypePingresp)
}

// drop ends the Network Connection as a failing network does.
func (p *peer) drop() {
	_ = p.net.Close()
}

// disconnect ends the connection with DISCONNECT and waits until the broker has
// closed, so that it has processed it.
func (p *peer) disconnect(changes ...func(*codec.Disconnect)) {
	p.t.Helper()
	d := codec.Disconnect{}
	for _, change := range changes {
		change(&d)
	}
	p.append(codec.AppendDisconnect(nil, &d, p.version))
	for {
		if _, err := p.read(soon()); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				p.t.Fatalf("the broker leaves the connection open after DISCONNECT")
			}
			break
		}
	}
	_ = p.net.Close()
}
