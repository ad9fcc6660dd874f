package login

import (
	"bytes"
	"log/slog"
	"os/exec"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/metrics"
)

// What no process compares is compared here, and the log says so, with no password in it.
func TestApartFails(t *testing.T) {
	for name, command := range map[string][]string{
		"there is none": {"/nonexistent"}, "it ends": {"true"}, "it says something else": {"echo", "yes!"},
	} {
		var log bytes.Buffer
		m := metrics.NewBroker()
		notices := notice.New(slog.New(slog.NewTextHandler(&log, nil)), m)
		a := NewApart(func() *exec.Cmd { return exec.Command(command[0], command[1:]...) }, notices)
		hash := access.NewHash([]byte("canary-right"), []byte("0123456789abcdef"))
		if !a.Matches(hash, []byte("canary-right")) || a.Matches(hash, []byte("canary-wrong")) {
			t.Errorf("%s: compared wrongly", name)
		}
		a.Close()
		notices.Close()
		if text := log.String(); !strings.Contains(text, "compared in this process") || strings.Contains(text, "canary") {
			t.Errorf("%s: the log says %q", name, text)
		}
	}
}

// What is no question is no password.
func TestComparePasswords(t *testing.T) {
	for _, in := range []string{"x\n", "{}\n", `{"hash":"$6$x","password":""}` + "\n", strings.Repeat("x", apartBytesMax+1)} {
		var out bytes.Buffer
		if err := comparePasswords(strings.NewReader(in), &out); err == nil || out.Len() > 0 {
			t.Errorf("%.20q: %v, %q", in, err, out.String())
		}
	}
}
