package broker_test

import (
	"bytes"
	"testing"

	"github.com/coder/websocket"

	"github.com/x0a1b/promptmq/codec"
)

// TestWebSocketClient: sub-protocol, origin, and packets that are not aligned with frames.
func TestWebSocketClient(t *testing.T) {
	t.Parallel()
	s := newListening(t)
	dial := func(o *websocket.DialOptions) (*websocket.Conn, error) {
		ws, _, err := websocket.Dial(t.Context(), "ws://"+s.wsAddr()+"/mqtt", o)
		return ws, err
	}
	if _, err := dial(&websocket.DialOptions{Subprotocols: []string{"mqtt"}, HTTPHeader: map[string][]string{"Origin": {"http://evil.example"}}}); err == nil {
		t.Error("a foreign origin was let in")
	}
	if ws, err := dial(&websocket.DialOptions{Subprotocols: []string{"other"}}); err == nil {
		if _, _, err := ws.Read(t.Context()); err == nil {
			t.Error("another sub-protocol was served")
		}
	}
	ws, err := dial(&websocket.DialOptions{Subprotocols: []string{"mqtt"}, CompressionMode: websocket.CompressionContextTakeover})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	b, err := codec.AppendConnect(nil, &codec.Connect{ClientID: codec.View("frames"), CleanStart: true}, codec.Version311)
	if err != nil {
		t.Fatal(err)
	}
	b = codec.AppendPingreq(b)
	for i := range b { // every byte a frame of its own; the last holds the end of two packets
		if err := ws.Write(t.Context(), websocket.MessageBinary, b[i:i+1]); err != nil {
			t.Fatal(err)
		}
	}
	var got []byte
	for len(got) < 6 {
		_, part, err := ws.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, part...)
	}
	if !bytes.Equal(got, []byte{0x20, 2, 0, 0, 0xd0, 0}) {
		t.Errorf("answered %x", got)
	}
	if err := ws.Write(t.Context(), websocket.MessageText, []byte("text")); err != nil { // [MQTT-6.0.0-1]
		t.Fatal(err)
	}
	if _, _, err := ws.Read(t.Context()); err == nil {
		t.Error("a text frame was taken")
	}
}
