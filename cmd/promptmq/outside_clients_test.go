//go:build outside

package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// TestOutsideClients: the same flags give the same messages from our pub and Mosquitto's, and the same
// output of our sub and Mosquitto's.
func TestOutsideClients(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	programs := map[string][2]string{"ours": {binary, "pub"}, "mosquitto": {program(t, "mosquitto_pub"), ""}}
	call := func(tool string, command, stdin string, args ...string) (string, int) {
		cmd := exec.CommandContext(t.Context(), tool)
		cmd.Env, cmd.Stdin = environ(), strings.NewReader(stdin)
		cmd.Args = append(cmd.Args, at(s, append([]string{command}, args...)...)...)
		if command == "" {
			cmd.Args = append(cmd.Args[:1], cmd.Args[2:]...)
		}
		var out bytes.Buffer
		cmd.Stdout = &out
		_ = cmd.Run()
		return out.String(), cmd.ProcessState.ExitCode()
	}
	const shape = `%t|%p|%x|%q|%r|%l|%C|%D|%R|%P|%F|%E`
	for i, test := range []struct {
		stdin string
		args  []string
		count string
	}{
		{"", []string{"-m", "x", "-q", "1"}, "1"}, {"", []string{"-m", "-x", "-q", "1"}, "1"}, {"", []string{"-n", "-q", "2"}, "1"},
		{"a\n\nb\r\nc", []string{"-l", "-q", "2"}, "4"}, {"a\nb\n", []string{"-s", "-V", "311", "-q", "1"}, "1"},
		{"", []string{"-m", "x", "--repeat", "3", "-q", "1"}, "3"}, {"", []string{"-m", "x", "-V", "mqttv31", "-q", "2", "-i", "me"}, "1"},
		{"", []string{"-m", "x", "-q", "1", "-D", "publish", "content-type", "a/b", "-D", "publish", "user-property", "k", "v", "-D", "PUBLISH", "correlation-data", "c d",
			"-D", "publish", "response-topic", "r/s", "-D", "publish", "payload-format-indicator", "1", "-D", "publish", "message-expiry-interval", "3600"}, "1"},
	} {
		var got []string
		for _, by := range []string{"ours", "mosquitto"} {
			id := "w" + string(rune('a'+i)) + by
			keeper := []string{"-t", "t/" + id, "-q", "2", "-c", "-i", id}
			call(binary, "sub", "", append(keeper, "-E")...)
			_, code := call(programs[by][0], programs[by][1], test.stdin, append(test.args, "-t", "t/"+id)...)
			out, _ := call(binary, "sub", "", append(keeper, "-C", test.count, "-W", "10", "-F", shape)...)
			got = append(got, strings.ReplaceAll(out, id, "ID")+strings.Repeat("!", code))
		}
		if got[0] != got[1] || got[0] == "" {
			t.Errorf("pub %q: ours %q, Mosquitto's %q", test.args, got[0], got[1])
		}
	}
	call(binary, "pub", "", "-t", "r/1", "-m", "he\"l\tlo", "-r", "-q", "1", "-D", "publish", "content-type", "a/b", "-D", "publish", "user-property", "k", "v")
	for _, args := range [][]string{{}, {"-v"}, {"-N"}, {"-F", shape}, {"-F", `%10t|%-10t|%.2t|%05l|%5l|%%|@@|\t\a\e\\|%S|%A|%X|%m`}, {"-T", "r/#", "-W", "1"}, {"-R", "-W", "1"}, {"-q", "2"}} {
		args = append(args, "-t", "r/#", "-C", "1", "-V", "5")
		ours, code := call(binary, "sub", "", args...)
		theirs, theirCode := call(program(t, "mosquitto_sub"), "", "", args...)
		if ours != theirs || code != theirCode {
			t.Errorf("sub %q: ours %q (%d), Mosquitto's %q (%d)", args, ours, code, theirs, theirCode)
		}
	}
	answering := v5Of(t, s, "answering", nil)
	answering.subscribeOne("ask/#", 0)
	go func() {
		for range 8 {
			p := answering.receive()
			topic, _ := p.Forward.ResponseTopic()
			correlation, _ := p.Forward.CorrelationData()
			answering.publish(codec.Publish{Topic: topic.Clone(), Payload: fmt.Appendf(nil, "%s to %s with %s", p.Payload, p.Topic, correlation)})
		}
	}()
	for i, args := range [][]string{{"-m", "a"}, {"-m", "-b", "-v"}, {"-n", "-F", shape}, {"-m", "c", "-N", "-D", "publish", "correlation-data", "17"}} {
		args = append(args, "-t", fmt.Sprint("ask/", i), "-e", "answer/1", "-V", "5", "-W", "20")
		ours, code := call(binary, "rr", "", args...)
		theirs, theirCode := call(program(t, "mosquitto_rr"), "", "", args...)
		if ours != theirs || code != theirCode || ours == "" {
			t.Errorf("rr %q: ours %q (%d), Mosquitto's %q (%d)", args, ours, code, theirs, theirCode)
		}
	}
	for _, by := range [][2]string{{binary, "sub"}, {program(t, "mosquitto_sub"), ""}} {
		args := at(s, "sub", "-t", "never", "-i", "dies", "-V", "5", "--will-topic", "will", "--will-payload", "-gone-", "--will-qos", "1", "--will-retain", "-D", "will", "content-type", "a/b")
		if by[1] == "" {
			args = args[1:]
		}
		cmd := exec.CommandContext(t.Context(), by[0], args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the client with a Will is connected", func() bool {
			return run(t, nil, "clients", "show", "dies", "--data-dir", s.dataDir()).code == 0
		})
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
		if got, _ := call(binary, "sub", "", "-t", "will", "-C", "1", "-W", "20", "-F", shape); !strings.HasPrefix(got, "will|-gone-|") || !strings.Contains(got, "|1|6|a/b|") {
			t.Errorf("the Will of %s is %q", by[0], got)
		}
		call(binary, "pub", "", "-t", "will", "-n", "-r", "-q", "1")
	}
}
