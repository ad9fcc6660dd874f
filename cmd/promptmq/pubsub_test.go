package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// at are the flags that name a broker.
func at(s *server, args ...string) []string {
	host, port, _ := strings.Cut(s.mqtt, ":")
	return append([]string{args[0], "-h", host, "-p", port}, args[1:]...)
}

// TestPubOptions: what pub sends, as a strict client sees it.
func TestPubOptions(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	watcher := v5Of(t, s, "watcher", nil)
	watcher.subscribeOne("#", 2)
	file := filepath.Join(t.TempDir(), "payload")
	binaryPayload := "\x00\xff\r\n\x80 end\n"
	if err := os.WriteFile(file, []byte(binaryPayload), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args  []string
		stdin string
		want  []string
		qos   codec.QoS
	}{
		{args: []string{"-t", "a/b", "-m", "hello"}, want: []string{"hello"}},
		{args: []string{"-t", "a/b", "-m", "-5", "-q", "1"}, want: []string{"-5"}, qos: 1},
		{args: []string{"-t", "a/b", "-m", "", "-q", "2"}, want: []string{""}, qos: 2},
		{args: []string{"-t", "a/b", "-n", "-V", "311"}, want: []string{""}},
		{args: []string{"-t", "a/b", "-f", file, "-V", "mqttv31", "-q", "2"}, want: []string{binaryPayload}, qos: 2},
		{args: []string{"-t", "a/b", "-s", "-q", "1"}, stdin: binaryPayload, want: []string{binaryPayload}, qos: 1},
		{args: []string{"-t", "a/b", "-l", "-q", "2"}, stdin: "one\n\ntwo\r\nlast", want: []string{"one", "", "two\r", "last"}, qos: 2},
		{args: []string{"-t", "a/b", "-m", "x", "--repeat", "3", "--rate", "100", "-q", "1", "-M", "1"}, want: []string{"x", "x", "x"}, qos: 1},
	} {
		cmd := exec.CommandContext(t.Context(), binary, at(s, append([]string{"pub"}, test.args...)...)...)
		cmd.Env, cmd.Stdin = environ(), strings.NewReader(test.stdin)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%v: %v\n%s", test.args, err, out)
			continue
		}
		var ids []uint16
		for _, want := range test.want {
			p := watcher.receive()
			ids = append(ids, p.PacketID)
			if p.Topic.String() != "a/b" || p.Payload.String() != want || p.QoS != test.qos {
				t.Errorf("%v: %q %q with QoS %d, not %q with %d", test.args, p.Topic, p.Payload, p.QoS, want, test.qos)
			}
		}
		for _, id := range ids {
			switch test.qos {
			case 1:
				watcher.sendAck(codec.TypePuback, id)
			case 2:
				watcher.sendAck(codec.TypePubrec, id)
				watcher.ack(codec.TypePubrel)
				watcher.sendAck(codec.TypePubcomp, id)
			}
		}
	}
}

// TestSubShows: the ways in which sub shows a message, a session that is resumed, and WebSocket.
func TestSubShows(t *testing.T) {
	unraced(t)
	t.Parallel()
	s := start(t, "")
	ok := func(args ...string) string {
		t.Helper()
		r := run(t, nil, at(s, args...)...)
		if r.code != 0 || r.stderr != "" {
			t.Fatalf("%v: code %d\n%s", args, r.code, r.stderr)
		}
		return r.stdout
	}
	ok("pub", "-t", "r/1", "-m", "hello", "-r", "-q", "1", "-D", "publish", "content-type", "text/x", "-D", "publish", "user-property", "k", "v",
		"-D", "publish", "correlation-data", "c d", "-D", "publish", "response-topic", "re/sp", "-D", "publish", "payload-format-indicator", "1")
	for format, want := range map[string]string{
		`%t|%p|%q|%r|%l|%x|%X|%C|%D|%R|%P|%F|%S`: "r/1|hello|0|1|5|68656c6c6f|68656C6C6F|text/x|c d|re/sp|k:v|1|7\n",
		`%%\t@@%5t|%-5t|%.2t|%05l`:               "%\t@  r/1|r/1  |r/|00005\n",
	} {
		if got := ok("sub", "-t", "r/#", "-C", "1", "-F", format, "-D", "subscribe", "subscription-identifier", "7"); got != want {
			t.Errorf("-F %q: %q, not %q", format, got, want)
		}
	}
	if got := ok("sub", "-t", "r/#", "-C", "1", "-v", "-N"); got != "r/1 hello" {
		t.Errorf("-v -N: %q", got)
	}
	if got := ok("sub", "-t", "r/#", "-C", "1", "--json"); !strings.Contains(got, `"topic":"r/1","qos":0,"retain":1,"payloadlen":5,"properties":{"content-type":"text/x"`) {
		t.Errorf("--json: %s", got)
	}
	ok("sub", "-t", "q/#", "-q", "2", "-c", "-i", "keeper", "-E")
	for _, text := range []string{"1", "2"} {
		ok("pub", "-t", "q/x", "-m", text, "-q", "2")
	}
	if got := ok("sub", "-t", "q/#", "-q", "2", "-c", "-i", "keeper", "-C", "2"); got != "1\n2\n" {
		t.Errorf("resumed: %q", got)
	}
	if r := run(t, nil, at(s, "sub", "-t", "q/#", "-q", "2", "-c", "-i", "keeper", "-W", "0.3")...); r.code != exitTimeout || r.stdout != "" {
		t.Errorf("acknowledged messages came again, or no end: %+v", r)
	}
	ok("sub", "-t", "r/#", "--remove-retained", "-C", "1")
	if r := run(t, nil, at(s, "sub", "-t", "r/#", "-W", "0.3")...); r.code != exitTimeout || r.stdout != "" {
		t.Errorf("a retained message is still there: %+v", r)
	}
}

// TestRequestResponse: rr gets the answer that another client gives to the Response Topic.
func TestRequestResponse(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	server := v5Of(t, s, "server", nil)
	server.subscribeOne("ask", 0)
	go func() {
		p := server.receive()
		topic, _ := p.Forward.ResponseTopic()
		correlation, _ := p.Forward.CorrelationData()
		server.publish(codec.Publish{Topic: topic.Clone(), Payload: fmt.Appendf(nil, "re: %s with %s", p.Payload, correlation)})
	}()
	if r := run(t, nil, at(s, "rr", "-t", "ask", "-e", "answers/1", "-m", "what?", "-W", "30", "-D", "publish", "correlation-data", "17")...); r.code != 0 || r.stdout != "re: what? with 17\n" {
		t.Errorf("%+v", r)
	}
	if r := run(t, nil, at(s, "rr", "-t", "nobody", "-e", "answers/1", "-m", "x", "-W", "0.3")...); r.code != exitTimeout {
		t.Errorf("%+v", r)
	}
}

// TestClientUsage: what is wrong on the command line is said, with exit code 2.
func TestClientUsage(t *testing.T) {
	unraced(t)
	t.Parallel()
	for _, test := range []struct{ args, want string }{
		{"pub -m x", "-t TOPIC"}, {"pub -t a", "-m TEXT, -f FILE, -l, -n and -s"}, {"pub -t a -m x -n", "not 2"},
		{"pub -t a/# -m x", "no wildcard"}, {"pub -t a -m x -q 3", "0, 1 or 2"}, {"pub -t a -m x -V 4", "5, 311 or 31"},
		{"pub -t a -m x -D publish colour red", "content-type"}, {"pub -t a -m x -D publish content-type", "-D PACKET"},
		{"pub -t a -m x -D connect receive-maximum 0", "from 1 to 65535"}, {"pub -t a -m x -V 311 -D connect receive-maximum 1", "MQTT 5"},
		{"pub -t a -m x -c", "-i ID"}, {"pub -t a -m x --rate -1", "--rate"}, {"pub -t a -m x -x soon", "-x is"}, {"pub -t a -m x --cert f", "go together"},
		{"pub -L http://host/topic -m x", "mqtt://"}, {"pub -t a -m x --will-qos 1", "--will-topic"},
		{"sub", "-t FILTER"}, {"sub -t a/#/b", "a/#/b"}, {"sub -t a -F %Q", "-F"}, {"sub -t a -F %p -v", "use one"}, {"sub -t a -R --retained-only", "nothing to show"},
		{"rr -t a -m x", "-e TOPIC"},
	} {
		r := run(t, nil, strings.Fields(test.args)...)
		if r.code != exitUsage || !strings.Contains(r.stderr, test.want) {
			t.Errorf("%s: code %d, %q is not in\n%s", test.args, r.code, test.want, r.stderr)
		}
	}
	if r := run(t, nil, "pub", "-h", "127.0.0.1", "-p", "1", "-t", "a", "-m", "x"); r.code != exitFailure || !strings.Contains(r.stderr, "refused") {
		t.Errorf("no broker: %+v", r)
	}
	var none bytes.Buffer
	if r := runTo(t, &none, nil, "pub", "-h", "127.0.0.1", "-p", "1", "-t", "a", "-m", "x", "--quiet"); r.code != exitFailure || r.stderr != "" {
		t.Errorf("--quiet: %+v", r)
	}
}
