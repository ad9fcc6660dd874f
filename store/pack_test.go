package store

import (
	"testing"
	"time"

	"github.com/x0a1b/promptmq/session"
)

// sampleRun returns a packed run with one inline and one shared message.
func sampleRun() (key runKey, run, body []byte) {
	shared := &session.Message{Topic: "shared", Payload: []byte("payload"), Forward: []byte{1, 2}, ExpiresAt: time.UnixMilli(5)}
	body = finishPacked(appendMessage(startPacked(nil), shared), kindBody)
	run = startPacked(nil)
	run = appendEntry(run, &session.Entry{Seq: 4, QoS: 2, Message: &session.Message{Topic: "t", QoS: 1}, Share: "$share/g/t"}, 0, -1)
	run = appendEntry(run, &session.Entry{Seq: 9, QoS: 1, Message: shared, SubscriptionIDs: []uint32{1, 1 << 20}}, 4, 0)
	key = runKey{session: 7, first: 4, last: 9}
	return key, finishPacked(run, kindRun, key.session, key.first, key.last, bodyKey(body)), body
}

func TestRunRoundTrip(t *testing.T) {
	key, run, body := sampleRun()
	entries, err := unpackRun(nil, key, run, body, 5)
	if err != nil || len(entries) != 1 || entries[0].Seq != 9 || entries[0].Message.Topic != "shared" {
		t.Fatalf("%+v, %v", entries, err)
	}
}

// Every single changed bit of a run, its body row or its keys is found.
func TestEveryBitOfARunIsChecked(t *testing.T) {
	key, run, body := sampleRun()
	for name, b := range map[string][]byte{"run": run, "body": body} {
		for i := range 8 * len(b) {
			b[i/8] ^= 1 << (i % 8)
			if _, err := unpackRun(nil, key, run, body, 0); err == nil {
				t.Errorf("%s: bit %d is not checked", name, i)
			}
			b[i/8] ^= 1 << (i % 8)
		}
	}
	for _, other := range []runKey{{8, 4, 9}, {7, 3, 9}, {7, 4, 8}} {
		if _, err := unpackRun(nil, other, run, body, 0); err == nil {
			t.Errorf("the keys %v are not checked", other)
		}
	}
}

// FuzzDecodeRun: whatever a run and its body row hold, decoding neither panics
// nor takes memory out of proportion, with a checksum that matches or without.
func FuzzDecodeRun(f *testing.F) {
	_, run, body := sampleRun()
	f.Add(run, body, true)
	f.Add([]byte{}, []byte{}, false)
	f.Add([]byte{packFormat, 0, 0, 0, 0, 8, 1, 0xff, 0xff, 0xff, 0xff, 0x0f}, body, true)
	f.Fuzz(func(t *testing.T, run, body []byte, sealed bool) {
		key := runKey{session: 7, first: 4, last: 9}
		if sealed && len(run) >= packHeader && len(body) >= packHeader {
			run[0], body[0] = packFormat, packFormat
			body = finishPacked(body, kindBody)
			run = finishPacked(run, kindRun, key.session, key.first, key.last, bodyKey(body))
		}
		entries, err := unpackRun(nil, key, run, body, 0)
		var last uint64
		for _, e := range entries {
			if e.Message == nil || e.Seq <= last {
				t.Fatalf("entry %+v after seq %d (error %v)", e, last, err)
			}
			last = e.Seq
		}
	})
}

func FuzzDecodeWill(f *testing.F) {
	f.Add(appendWill(nil, &session.Will{Message: &session.Message{Topic: "t"}, HasMessageExpiry: true}, 1), true)
	f.Fuzz(func(t *testing.T, b []byte, sealed bool) {
		if sealed && len(b) >= packHeader {
			b[0] = packFormat
			b = finishPacked(b, kindWill, 1, 0)
		}
		if w, err := unpackWill(b, 1, 0); err == nil && w.Message == nil {
			t.Fatal("a Will without message and without error")
		}
	})
}

func FuzzDecodeRetained(f *testing.F) {
	f.Add(finishPacked(appendMessage(startPacked(nil), &session.Message{Topic: "t"}), kindRetained, textKey("t"), 1), true)
	f.Fuzz(func(t *testing.T, b []byte, sealed bool) {
		if sealed && len(b) >= packHeader {
			b[0] = packFormat
			b = finishPacked(b, kindRetained, textKey("t"), 1)
		}
		if m, err := unpackRetained(b, "t", 1); err == nil && m == nil {
			t.Fatal("no message and no error")
		}
	})
}
