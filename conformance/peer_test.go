package conformance

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/metrics"
	"github.com/x0a1b/promptmq/store"
)

var brokerAddr = flag.String("broker", "", "host:port of the broker under test; empty: a PromptMQ started for it")

// answerSeconds bounds how long a broker may take to answer.
const answerSeconds = 10

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := runSuite(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runSuite(m *testing.M) (code int, err error) {
	if *brokerAddr != "" {
		return m.Run(), nil
	}
	dir, err := os.MkdirTemp("", "promptmq-conformance-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	so := store.DefaultOptions()
	so.DataDir = dir
	db, err := store.Open(so)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	o := broker.DefaultOptions()
	o.Bind, o.WSBind, o.Metrics = "127.0.0.1:0", "", metrics.NewBroker()
	b, err := broker.New(o, db)
	if err != nil {
		return 1, err
	}
	if err := b.Start(); err != nil {
		return 1, err
	}
	*brokerAddr = b.Addr().String()
	code = m.Run()
	if n := o.Metrics.Panics.Get(); n != 0 {
		return 1, fmt.Errorf("%d panics were recovered", n)
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerSeconds*time.Second)
	defer cancel()
	return code, b.Shutdown(ctx)
}

// A peer is a raw client: it sends any bytes and takes answers apart strictly.
type peer struct {
	net.Conn
	t       *testing.T
	version codec.Version
	r       codec.Reader
}

func dial(t *testing.T, v codec.Version) *peer {
	t.Helper()
	nc, err := net.Dial("tcp", *brokerAddr)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{Conn: nc, t: t, version: v}
	p.r.Reset(0)
	t.Cleanup(func() { _ = nc.Close() })
	return p
}

// unique returns a name that no other run uses.
func unique(prefix string) string { return prefix + "-" + rand.Text()[:10] }

// connect opens a clean session for a new Client Identifier; change may alter
// the CONNECT.
func connect(t *testing.T, v codec.Version, change func(*codec.Connect)) (*peer, codec.Connack) {
	t.Helper()
	p := dial(t, v)
	c := codec.Connect{ClientID: codec.View(unique("conformance")), CleanStart: true, ReceiveMaximum: 65535,
		RequestProblemInformation: true, KeepAliveSeconds: 60}
	if change != nil {
		change(&c)
	}
	p.send(codec.AppendConnect(nil, &c, v))
	var ack codec.Connack
	p.decode(codec.TypeConnack, func(f codec.Frame) error { return ack.Decode(f, v) })
	return p, ack
}

func (p *peer) send(b []byte, err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) next() (codec.Frame, error) {
	for {
		f, err := p.r.Next()
		if err != codec.ErrIncomplete {
			return f, err
		}
		if err := p.SetReadDeadline(time.Now().Add(answerSeconds * time.Second)); err != nil {
			return f, err
		}
		n, err := p.Read(p.r.Room())
		if err != nil {
			return f, err
		}
		p.r.Wrote(n)
	}
}

// decode takes the next packet, which must be of type t.
func (p *peer) decode(t codec.PacketType, decode func(codec.Frame) error) {
	p.t.Helper()
	f, err := p.next()
	if err != nil {
		p.t.Fatalf("waiting for %v: %v", t, err)
	}
	if f.Type() != t {
		p.t.Fatalf("got %v, expected %v", f.Type(), t)
	}
	if err := decode(f); err != nil {
		p.t.Fatalf("%v: %v", t, err)
	}
}

func (p *peer) ack(t codec.PacketType) codec.Ack {
	p.t.Helper()
	var a codec.Ack
	p.decode(t, func(f codec.Frame) error { return a.Decode(f, p.version) })
	return a
}

func (p *peer) sendAck(t codec.PacketType, id uint16) {
	p.t.Helper()
	p.send(codec.AppendAck(nil, &codec.Ack{Type: t, PacketID: id}, p.version))
}

func (p *peer) publish(pub codec.Publish) {
	p.t.Helper()
	p.send(codec.AppendPublish(nil, &pub, p.version))
}

func (p *peer) receive() codec.Publish {
	p.t.Helper()
	var pub codec.Publish
	p.decode(codec.TypePublish, func(f codec.Frame) error { return pub.Decode(f, p.version) })
	return pub
}

func (p *peer) subscribe(id uint32, subs ...codec.Subscription) codec.Suback {
	p.t.Helper()
	p.send(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 11, SubscriptionID: id}, subs, p.version))
	var ack codec.Suback
	p.decode(codec.TypeSuback, func(f codec.Frame) error { return ack.Decode(f, p.version) })
	return ack
}

// quiet checks that the broker answers and has nothing else to send.
func (p *peer) quiet() {
	p.t.Helper()
	p.send(codec.AppendPingreq(nil), nil)
	p.decode(codec.TypePingresp, codec.DecodePing)
}

// closed checks that the broker ends the connection, after at most a DISCONNECT
// or a CONNACK with one of the reasons.
func (p *peer) closed(reasons ...codec.ReasonCode) {
	p.t.Helper()
	for {
		f, err := p.next()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			p.t.Fatal("the connection stays open")
		}
		if err != nil {
			if err != io.EOF && !isReset(err) {
				p.t.Fatal(err)
			}
			return
		}
		reason := codec.Success
		switch f.Type() {
		case codec.TypeDisconnect:
			var d codec.Disconnect
			err, reason = d.Decode(f, p.version), d.Reason
		case codec.TypeConnack:
			var c codec.Connack
			err, reason = c.Decode(f, p.version), c.Reason
		default:
			p.t.Fatalf("%v before the end", f.Type())
		}
		if err != nil {
			p.t.Fatal(err)
		}
		found := len(reasons) == 0
		for _, r := range reasons {
			found = found || r == reason
		}
		if !found {
			p.t.Errorf("closed with %v, expected one of %v", reason, reasons)
		}
	}
}

func isReset(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && !op.Timeout()
}
