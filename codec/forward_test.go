package codec

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// everything describes a Forward through its accessors.
func everything(f *Forward) string {
	format, hasFormat := f.PayloadFormat()
	content, hasContent := f.ContentType()
	response, hasResponse := f.ResponseTopic()
	data, hasData := f.CorrelationData()
	s := fmt.Sprintf("%d %v %q %v %q %v %q %v", format, hasFormat, content, hasContent, response, hasResponse, data, hasData)
	f.EachUserProperty(func(name, value View) bool {
		s += fmt.Sprintf(" %q=%q", name, value)
		return true
	})
	return s
}

func userProperty(name, value string) []byte {
	return AppendUserProperty(nil, []byte(name), []byte(value))
}

// TestForward: the properties that are passed on, in every split of them by
// ones that are not, are read, kept in order and stored the same.
func TestForward(t *testing.T) {
	forwarded := [][]byte{
		AppendPayloadFormat(nil, 1), AppendContentType(nil, []byte("text")), userProperty("k", "1"),
		AppendResponseTopic(nil, []byte("r/t")), userProperty("k", "2"), AppendCorrelationData(nil, []byte{0, 1}), userProperty("", ""),
	}
	const want = `1 true "text" true "r/t" true "\x00\x01" true "k"="1" "k"="2" ""=""`
	encoded := bytes.Join(forwarded, nil)
	// Bit i of split puts a Subscription Identifier, which is not passed on,
	// before property i.
	for split := range 1 << (len(forwarded) + 1) {
		var region []byte
		ids := []uint32{}
		for i := range len(forwarded) + 1 {
			if split>>i&1 != 0 {
				region = append(region, propSubscriptionID, byte(i+1))
				ids = append(ids, uint32(i+1))
			}
			if i < len(forwarded) {
				region = append(region, forwarded[i]...)
			}
		}
		var p Publish
		body := append(appendVarint([]byte{0, 1, 'a'}, uint32(len(region))), region...)
		if err := p.Decode(Frame{First: 0x30, Body: body}, Version5); err != nil {
			t.Fatal(err)
		}
		if got := p.Forward.AppendTo(nil); !bytes.Equal(got, encoded) || p.Forward.Len() != len(encoded) {
			t.Errorf("split %b: %x, length %d", split, got, p.Forward.Len())
		}
		if got := everything(&p.Forward); got != want {
			t.Errorf("split %b: %s", split, got)
		}
		if !slices.Equal(p.SubscriptionIDs, ids) {
			t.Errorf("split %b: subscription identifiers %v", split, p.SubscriptionIDs)
		}
	}
	stored := ForwardBytes(encoded)
	if got := everything(&stored); got != want {
		t.Errorf("stored: %s", got)
	}
	calls := 0
	stored.EachUserProperty(func(_, _ View) bool { calls++; return false })
	if calls != 1 {
		t.Errorf("%d calls after the first said to stop", calls)
	}
	none := ForwardBytes(nil)
	if got := everything(&none); got != `0 false "" false "" false "" false` || none.Len() != 0 {
		t.Errorf("none: %s", got)
	}
}

// TestForwardReuse: a Publish decoded into again keeps nothing of the packet before.
func TestForwardReuse(t *testing.T) {
	var reused packet
	for range 2 {
		for _, v := range validVectors {
			f, err := frameOf(v.bytes(t), v.version, 0)
			if err != nil {
				t.Fatal(err)
			}
			if f.Type() != TypePublish {
				continue
			}
			var fresh packet
			if err := fresh.decode(f, v.version); err != nil {
				t.Fatal(err)
			}
			if err := reused.decode(f, v.version); err != nil {
				t.Fatal(err)
			}
			if fresh.meaning() != reused.meaning() {
				t.Errorf("%s: %s\nreused %s", v.name, fresh.meaning(), reused.meaning())
			}
			for _, bad := range malformedVectors { // and nothing of a malformed one
				if f, err := frameOf(bad.bytes(t), bad.version, 1<<20); err == nil && f.Type() == TypePublish {
					if reused.decode(f, bad.version) == nil {
						t.Fatal(bad.name)
					}
					if f, _ := frameOf(v.bytes(t), v.version, 0); reused.decode(f, v.version) != nil || fresh.meaning() != reused.meaning() {
						t.Errorf("%s after %s: %s", v.name, bad.name, reused.meaning())
					}
				}
			}
		}
	}
}

// TestUserProperties walks those of an acknowledgement, among others, and those
// that were made.
func TestUserProperties(t *testing.T) {
	made := append(userProperty("a", "1"), userProperty("b", "2")...)
	p := Ack{Type: TypePubrec, PacketID: 7, Reason: NotAuthorized, reasonProperties: reasonProperties{
		ReasonString: View("no"), HasReasonString: true, UserProperties: MakeUserProperties(made),
	}}
	b, err := AppendAck(nil, &p, Version5)
	if err != nil {
		t.Fatal(err)
	}
	f, err := frameOf(b, Version5, 0)
	if err != nil {
		t.Fatal(err)
	}
	var q Ack
	if err := q.Decode(f, Version5); err != nil {
		t.Fatal(err)
	}
	for _, u := range []UserProperties{p.UserProperties, q.UserProperties} {
		got, calls := "", 0
		u.Each(func(name, value View) bool { got += name.String() + "=" + value.String() + " "; return true })
		u.Each(func(_, _ View) bool { calls++; return false })
		if got != "a=1 b=2 " || calls != 1 || !bytes.Equal(u.AppendTo(nil), made) {
			t.Errorf("%q, %d calls", got, calls)
		}
	}
}
