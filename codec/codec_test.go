package codec

import (
	"bytes"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"
)

func TestValidVectors(t *testing.T) {
	for _, v := range validVectors {
		t.Run(v.name, func(t *testing.T) {
			b := v.bytes(t)
			f, err := frameOf(b, v.version, 0)
			if err != nil {
				t.Fatal(err)
			}
			if f.Size() != len(b) {
				t.Errorf("size %d of %d bytes", f.Size(), len(b))
			}
			var p packet
			if err := p.decode(f, v.version); err != nil {
				t.Fatal(err)
			}
			again, err := p.append([]byte("before"))
			if err != nil {
				t.Fatal(err)
			}
			again = bytes.TrimPrefix(again, []byte("before"))
			if !v.lenient && !bytes.Equal(again, b) {
				t.Errorf("appended %x\n expected %x", again, b)
			}
			if p.typ == TypePublish && PublishSize(&p.publish, v.version) != len(again) {
				t.Errorf("PublishSize %d, appended %d bytes", PublishSize(&p.publish, v.version), len(again))
			}
			checkIdentity(t, &p, again)
		})
	}
}

// checkIdentity decodes b, which p was appended to, and compares the meaning.
func checkIdentity(t *testing.T, p *packet, b []byte) {
	t.Helper()
	f, err := frameOf(b, p.version, 0)
	if err != nil {
		t.Fatalf("what was appended does not frame: %v: %x", err, b)
	}
	var q packet
	if err := q.decode(f, p.version); err != nil {
		t.Fatalf("what was appended does not decode: %v: %x", err, b)
	}
	if p.meaning() != q.meaning() {
		t.Errorf("decoded   %s\nand again %s", p.meaning(), q.meaning())
	}
}

func TestMalformedVectors(t *testing.T) {
	for _, v := range malformedVectors {
		t.Run(v.name, func(t *testing.T) {
			var e *Error
			if err := decodeVector(v.bytes(t), v.version); !errors.As(err, &e) {
				t.Fatalf("got %v", err)
			}
			if e.Reason != v.reason || e.Rule != v.rule {
				t.Errorf("got %v [%s] %q, expected %v [%s]", e.Reason, e.Rule, e.Detail, v.reason, v.rule)
			}
		})
	}
}

// TestEveryErrorHasVector: each error that error.go declares for decoding comes
// out of at least one malformed vector.
func TestEveryErrorHasVector(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range malformedVectors {
		var e *Error
		if errors.As(decodeVector(v.bytes(t), v.version), &e) {
			seen[strconv.Quote(e.Detail)] = true
		}
	}
	file, err := parser.ParseFile(token.NewFileSet(), "error.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		var parts []ast.Expr
		switch value := spec.Values[0].(type) {
		case *ast.UnaryExpr: // &Error{reason, rule, detail}
			parts = value.X.(*ast.CompositeLit).Elts
		case *ast.CallExpr: // malformed(rule, detail)
			if _, ok := value.Fun.(*ast.Ident); !ok { // errors.New: an error of Append
				return true
			}
			parts = value.Args
		}
		declared++
		if detail := parts[len(parts)-1].(*ast.BasicLit).Value; !seen[detail] {
			t.Errorf("no vector gives %s: %s", spec.Names[0], detail)
		}
		return true
	})
	if declared < 30 {
		t.Errorf("found only %d errors", declared)
	}
}

func decodeVector(b []byte, v Version) error {
	f, err := frameOf(b, v, 1<<20)
	if err != nil {
		return err
	}
	var p packet
	return p.decode(f, v)
}

// TestTruncation cuts every valid packet at every byte: as a stream it is
// incomplete, as a body it is refused or, for the forms that may end early,
// something else that is valid; it never panics.
func TestTruncation(t *testing.T) {
	for _, v := range validVectors {
		b := v.bytes(t)
		for n := range b {
			if _, err := frameOf(b[:n], v.version, 0); err != ErrIncomplete {
				t.Errorf("%s cut at %d: %v", v.name, n, err)
			}
		}
		f, err := frameOf(b, v.version, 0)
		if err != nil {
			t.Fatal(err)
		}
		for n := range f.Body {
			var p packet
			err := p.decode(Frame{First: f.First, Body: f.Body[:n]}, v.version)
			if err == nil && !mayEndAt(&p, n) {
				t.Errorf("%s with %d of %d bytes is accepted", v.name, n, len(f.Body))
			}
		}
	}
}

// mayEndAt tells where a shorter body is another valid packet.
func mayEndAt(p *packet, n int) bool {
	switch p.typ {
	case TypeConnect: // without the last fields, which have flags
		return p.version == Version31 && n >= 15 && !p.connect.HasPassword
	case TypePublish, TypeSuback, TypeUnsuback, TypeSubscribe, TypeUnsubscribe: // the payload or the list is shorter
		return true
	case TypePuback, TypePubrec, TypePubrel, TypePubcomp:
		return n == 2 || n == 3
	case TypeDisconnect:
		return n <= 1
	case TypeAuth:
		return n == 0
	}
	return false
}

// TestStream reads all valid packets from one stream, in pieces of every size.
func TestStream(t *testing.T) {
	var stream []byte
	for _, v := range validVectors {
		stream = append(stream, v.bytes(t)...)
	}
	for chunk := 1; chunk <= 70; chunk++ {
		var r Reader
		r.Reset(0)
		i, fed, read := 0, 0, 0
		for {
			if i < len(validVectors) {
				r.SetVersion(validVectors[i].version)
			}
			f, err := r.Next()
			if err == ErrIncomplete && fed < len(stream) {
				room := r.Room()
				n := copy(room[:min(chunk, len(room))], stream[fed:])
				r.Wrote(n)
				fed += n
				continue
			}
			if err != nil {
				if err != ErrIncomplete || i != len(validVectors) {
					t.Errorf("pieces of %d: %v after %d packets", chunk, err, i)
				}
				break
			}
			read += f.Size()
			if want := validVectors[i].bytes(t); f.First != want[0] || !bytes.HasSuffix(want, f.Body) || r.Buffered() != fed-read {
				t.Fatalf("pieces of %d: packet %d is %x %x", chunk, i, f.First, []byte(f.Body))
			}
			i++
		}
	}
}

// TestReaderGrowth: what a packet claims does not make the reader grow.
func TestReaderGrowth(t *testing.T) {
	var r Reader
	r.Reset(0)
	r.Wrote(copy(r.Room(), []byte{0x30, 0xff, 0xff, 0xff, 0x7f, 0, 1}))
	if _, err := r.Next(); err != ErrIncomplete {
		t.Fatal(err)
	}
	if n := len(r.Room()); n > roomMin {
		t.Errorf("%d bytes of room after 7 bytes", n)
	}
}

// TestReaderReclaim: an idle reader gives its buffer back, one that waits for
// the rest of a packet does not.
func TestReaderReclaim(t *testing.T) {
	var r Reader
	r.Reset(0)
	buf := make([]byte, 64)
	r.Lend(buf)
	if typ, ok := r.PeekType(); ok {
		t.Fatal(typ)
	}
	r.Wrote(copy(r.Room(), []byte{0xc0, 0x00, 0xc0}))
	if typ, ok := r.PeekType(); typ != TypePingreq || !ok {
		t.Fatal(typ, ok)
	}
	if f, err := r.Next(); err != nil || f.Type() != TypePingreq {
		t.Fatal(f.Type(), err)
	}
	if r.Reclaim() != nil || r.Buffered() != 1 {
		t.Fatal("a buffer with a byte in it was given back")
	}
	r.Wrote(copy(r.Room(), []byte{0x00}))
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if got := r.Reclaim(); cap(got) != cap(buf) {
		t.Fatal("another buffer came back")
	}
}

// TestReaderMove: the beginning of a packet waits in another buffer.
func TestReaderMove(t *testing.T) {
	var r Reader
	r.Reset(0)
	large := make([]byte, 64)
	r.Lend(large)
	r.Wrote(copy(r.Room(), []byte{0xc0, 0x00, 0x30, 0x03, 0, 1}))
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if back := r.Move(make([]byte, 8)); cap(back) != cap(large) || r.Lent() != 8 || r.Buffered() != 4 {
		t.Fatalf("%d bytes came back, %d are lent, %d wait", cap(back), r.Lent(), r.Buffered())
	}
	clear(large)
	r.Wrote(copy(r.Room(), "a"))
	if f, err := r.Next(); err != nil || string(f.Body) != "\x00\x01a" {
		t.Fatalf("%x, %v", []byte(f.Body), err)
	}
}

// TestAppendRefuses: what cannot be encoded is an error, and dst stays.
func TestAppendRefuses(t *testing.T) {
	long := make([]byte, maxString+1)
	huge := make([]byte, maxVarint) // never touched
	for name, p := range map[string]*packet{
		"long topic":       {typ: TypePublish, version: 5, publish: Publish{Topic: long}},
		"long packet":      {typ: TypePublish, version: 5, publish: Publish{Topic: View("a"), Payload: huge}},
		"qos 3":            {typ: TypePublish, version: 5, publish: Publish{Topic: View("a"), QoS: 3, PacketID: 1}},
		"no identifier":    {typ: TypePublish, version: 5, publish: Publish{Topic: View("a"), QoS: 1}},
		"long client id":   {typ: TypeConnect, version: 5, connect: Connect{Version: 5, ClientID: long}},
		"ack identifier":   {typ: TypePuback, version: 5, ack: Ack{Type: TypePuback}},
		"ack reason":       {typ: TypePuback, version: 5, ack: Ack{Type: TypePuback, PacketID: 1, Reason: ServerMoved}},
		"no filter":        {typ: TypeSubscribe, version: 5, subscribe: Subscribe{PacketID: 1}},
		"long filter":      {typ: TypeSubscribe, version: 5, subscribe: Subscribe{PacketID: 1}, subs: []Subscription{{Filter: long}}},
		"present, refused": {typ: TypeConnack, version: 5, connack: Connack{SessionPresent: true, Reason: NotAuthorized}},
		"auth 3.1.1":       {typ: TypeAuth, version: 4},
		"auth no method":   {typ: TypeAuth, version: 5, auth: Auth{Reason: ContinueAuthentication}},
		"connect auth":     {typ: TypeConnect, version: 5, connect: Connect{HasAuthenticationData: true}},
		"connect will":     {typ: TypeConnect, version: 4, connect: Connect{Will: Will{Retain: true}}},
		"connack auth":     {typ: TypeConnack, version: 5, connack: Connack{HasAuthenticationData: true}},
		"connack qos":      {typ: TypeConnack, version: 5, connack: Connack{HasMaximumQoS: true, MaximumQoS: 2}},
		"connack reason":   {typ: TypeConnack, version: 5, connack: Connack{Reason: KeepAliveTimeout}},
		"dup at qos 0":     {typ: TypePublish, version: 5, publish: Publish{Topic: View("a"), Dup: true}},
		"no topic":         {typ: TypePublish, version: 5},
		"alias in 3.1.1":   {typ: TypePublish, version: 4, publish: Publish{TopicAlias: 1}},
		"subscription id":  {typ: TypePublish, version: 5, publish: Publish{Topic: View("a"), SubscriptionIDs: []uint32{0}}},
		"ack type":         {typ: TypePuback, version: 5, ack: Ack{Type: TypeSuback, PacketID: 1}},
		"ack long reason":  {typ: TypePuback, version: 5, ack: Ack{Type: TypePuback, PacketID: 1, reasonProperties: reasonProperties{ReasonString: long, HasReasonString: true}}},
		"subscribe id":     {typ: TypeSubscribe, version: 5, subs: []Subscription{{Filter: View("a")}}},
		"subscribe qos":    {typ: TypeSubscribe, version: 4, subscribe: Subscribe{PacketID: 1}, subs: []Subscription{{Filter: View("a"), QoS: 3}}},
		"empty filter":     {typ: TypeSubscribe, version: 5, subscribe: Subscribe{PacketID: 1}, subs: []Subscription{{}}},
		"retain handling":  {typ: TypeSubscribe, version: 5, subscribe: Subscribe{PacketID: 1}, subs: []Subscription{{Filter: View("a"), RetainHandling: 4}}},
		"suback 3.1.1":     {typ: TypeSuback, version: 4, suback: Suback{PacketID: 1, Reasons: View{0x87}}},
		"suback empty":     {typ: TypeSuback, version: 5, suback: Suback{PacketID: 1}},
		"unsuback id":      {typ: TypeUnsuback, version: 4},
		"unsubscribe":      {typ: TypeUnsubscribe, version: 4, unsubscribe: Unsubscribe{PacketID: 1}, filters: []View{{}}},
		"connack 3.1.1":    {typ: TypeConnack, version: 4, connack: Connack{Reason: TopicNameInvalid}},
		"disconnect":       {typ: TypeDisconnect, version: 5, disconnect: Disconnect{Reason: Banned}},
	} {
		dst := []byte("kept")
		got, err := p.append(dst)
		if err == nil || string(got) != "kept" {
			t.Errorf("%s: %v, %d bytes", name, err, len(got))
		}
	}
}

func TestReasonCodes(t *testing.T) {
	if QuotaExceeded.String() != "Quota exceeded" || ReasonCode(0x42).String() != "Reason Code 0x42" {
		t.Error(QuotaExceeded.String(), ReasonCode(0x42).String())
	}
	for r, want := range map[ReasonCode]byte{
		Success: 0, UnsupportedProtocolVersion: 1, ClientIdentifierNotValid: 2, ServerBusy: 3, QuotaExceeded: 3,
		BadUserNameOrPassword: 4, NotAuthorized: 5,
	} {
		if code, ok := r.ConnackReturnCode(); code != want || !ok {
			t.Errorf("%v is return code %d, %t", r, code, ok)
		}
	}
	for _, r := range []ReasonCode{MalformedPacket, ProtocolError, TopicNameInvalid, RetainNotSupported, QoSNotSupported, KeepAliveTimeout} {
		if code, ok := r.ConnackReturnCode(); ok {
			t.Errorf("%v is return code %d: there is none", r, code)
		}
	}
}
