package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/metrics"
)

// disconnects returns how many connections have ended, by listener and reason, and how many
// were opened, by listener.
func (s *server) disconnects() (ended map[string]float64, opened, all float64) {
	s.t.Helper()
	ended = make(map[string]float64)
	for name, v := range s.scrape() {
		switch {
		case strings.HasPrefix(name, "promptmq_disconnects_total{"):
			all += v
			if v > 0 {
				ended[strings.TrimPrefix(name, "promptmq_disconnects_total")] = v
			}
		case strings.HasPrefix(name, "promptmq_listener_connections_total{"):
			opened += v
		}
	}
	return ended, opened, all
}

// TestDisconnectsAreCounted ends connections in all ways that a test can, and compares.
func TestDisconnectsAreCounted(t *testing.T) {
	t.Parallel()
	s := start(t, "server: {write-timeout: 1s}")
	polite := v5Of(t, s, "polite", nil)
	polite.send(codec.AppendDisconnect(nil, &codec.Disconnect{}, codec.Version5))
	v5Of(t, s, "lost", nil).drop()
	silent := v5Of(t, s, "silent", func(c *codec.Connect) { c.KeepAliveSeconds = 1 })
	v5Of(t, s, "twice", nil)
	v5Of(t, s, "twice", nil)
	bad := v5Of(t, s, "bad", nil)
	bad.send([]byte{0xF1, 0}, nil)
	bad.closed(codec.MalformedPacket)
	early := dialRaw(t, s.mqtt, codec.Version5)
	early.send(codec.AppendPingreq(nil), nil)
	early.closed(codec.Success)
	overWebSocket, _ := connectOver(t, dialWebSocket(t, s.ws), codec.Version5, "web", nil)
	overWebSocket.send(codec.AppendDisconnect(nil, &codec.Disconnect{}, codec.Version5))
	stuck := v5Of(t, s, "stuck", nil)
	stuck.subscribeOne("flood", 0)
	silent.closed(codec.KeepAliveTimeout)
	pub := v5Of(t, s, "pub", nil)
	want := fmt.Sprint(map[string]float64{
		`{listener="mqtt",reason="client"}`: 1, `{listener="mqtt",reason="lost"}`: 1, `{listener="mqtt",reason="keep_alive"}`: 1,
		`{listener="mqtt",reason="taken_over"}`: 1, `{listener="mqtt",reason="protocol_error"}`: 1, `{listener="mqtt",reason="no_connack"}`: 1,
		`{listener="mqtt",reason="write_timeout"}`: 1, `{listener="websocket",reason="client"}`: 1,
	})
	payload := make([]byte, 64<<10)
	var got string
	defer func() {
		if t.Failed() {
			t.Logf("counted  %s\nexpected %s", got, want)
		}
	}()
	eventually(t, "all have ended", func() bool {
		for range 100 {
			pub.publish(codec.Publish{Topic: codec.View("flood"), Payload: payload})
		}
		pub.quiet()
		ended, opened, all := s.disconnects()
		got = fmt.Sprint(ended)
		return got == want && opened == s.metric("promptmq_connections_total") && opened == all+s.metric("promptmq_connections_current")
	})
}

// TestRefusalMetrics has connections, logins and scrapes refused, and compares.
func TestRefusalMetrics(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeCertificate(t, dir, 1)
	s := start(t, fmt.Sprintf("server: {listeners: [{kind: tls, address: '127.0.0.1:0', cert-file: %[1]s/cert.pem, key-file: %[1]s/key.pem}, {kind: tcp, name: one, address: '127.0.0.1:0', max-connections: 1}]}\n"+
		"auth: {http: {url: 'http://127.0.0.1:1/'}}", dir))

	// The listener for one: the second has no place.
	first, _ := connectRaw(t, s.listening("one"), codec.Version5, "first", nil)
	dialRaw(t, s.listening("one"), codec.Version5).closed(codec.Success)
	s.wants(map[string]float64{`promptmq_listener_refused_total{listener="one"}`: 1, `promptmq_listener_connections{listener="one"}`: 1, `promptmq_listener_connections_total{listener="one"}`: 1})
	first.quiet()

	// Nobody answers at auth.http.url; a user of the store is let in, and then is none any more.
	s.loginAs(codec.Version5, "somebody", "password")
	s.wants(map[string]float64{`promptmq_callback_logins_total{outcome="failed"}`: 1})
	c := commander{t, s.dataDir()}
	c.add("ann", "ann's")
	ann := v5Of(t, s, "ann", byUser("ann", "ann's"))
	c.ok("user", "disable", "ann")
	ann.closed(codec.NotAuthorized)
	s.wants(map[string]float64{
		fmt.Sprintf("promptmq_identities_ended_total{reason=%q}", codec.NotAuthorized): 1, `promptmq_disconnects_total{listener="mqtt",reason="identity_ended"}`: 1,
	})

	// TLS: what is no handshake, an error behind one, and files that are read again.
	plain := dialRaw(t, s.listening("tls"), codec.Version5)
	plain.send([]byte("no handshake, but a text\r\n"), nil)
	plain.closed(codec.Success)
	nc := dialTCP(t, s.listening("tls"))
	over := tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
	if got := connackOf(t, over); got != accepted {
		t.Fatalf("CONNACK %v", got)
	}
	if _, err := nc.Write([]byte("\x17\x03\x03\x00\x20 what nobody can have encrypted !")); err != nil {
		t.Fatal(err)
	}
	writeCertificate(t, dir, 2)
	s.hangup()
	eventually(t, "TLS is counted", func() bool {
		got := s.scrape()
		return sumOf(got, "promptmq_tls_handshake_failures_total") == 1 && sumOf(got, "promptmq_tls_errors_total") == 1 &&
			got[`promptmq_tls_cert_loads_total{listener="tls",result="ok"}`] >= 1 && got[`promptmq_tls_cert_loads_total{listener="tls",result="error"}`] == 0
	})

	// A client that is refused reads on: its connection lingers until it closes.
	refused := v5Of(t, s, "refused", nil)
	refused.send([]byte{0xF1, 0}, nil)
	eventually(t, "it lingers", func() bool { return s.metric("promptmq_connections_lingering") == 1 })
	_ = refused.Close()
	s.wants(map[string]float64{"promptmq_connections_lingering": 0})

	// Of many lines for one cause some are left out, and of many who ask for metrics the idle are closed.
	eventually(t, "lines are left out", func() bool {
		v5Of(t, s, "again", nil).send([]byte{0xF1, 0}, nil)
		return sumOf(s.scrape(), "promptmq_log_lines_left_out_total") > 0
	})
	for range 70 {
		defer dialTCP(t, s.metrics).Close()
	}
	eventually(t, "idle connections make room", func() bool { return s.metric("promptmq_metrics_connections_closed_total") > 0 })
}

// sumOf adds the samples of a family.
func sumOf(samples map[string]float64, family string) (sum float64) {
	for name, v := range samples {
		if name == family || strings.HasPrefix(name, family+"{") {
			sum += v
		}
	}
	return sum
}

// shownElsewhere are the families that a test of another package shows, as it needs virtual time.
var shownElsewhere = map[string]string{"promptmq_session_takeovers_cut_short_total": "TestLateConnection of package broker"}

// TestEveryMetricIsShown: each family is asked for by a test that has the binary do what it counts.
func TestEveryMetricIsShown(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, text, _ = bytes.Cut(text, []byte("\nimport ("))
		all.Write(text)
	}
	for family := range metrics.Families() {
		shown := regexp.MustCompile(family + `(_bucket|_sum|_count)?[^a-z_]`).MatchString(all.String())
		if elsewhere := shownElsewhere[family] != ""; !shown && !elsewhere {
			t.Errorf("no test of the binary shows %s", family)
		}
	}
}
