//go:build outside

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// A prometheus is a running Prometheus that scrapes one broker each second.
type prometheus struct {
	t    *testing.T
	addr string
}

func startPrometheus(t *testing.T, target string) *prometheus {
	t.Helper()
	dir := t.TempDir()
	rules, err := filepath.Abs(filepath.Join(deployed, "prometheus", "rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "prometheus.yml")
	writeText(t, config, fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%q]\n"+
		"scrape_configs: [{job_name: promptmq, static_configs: [{targets: [%q]}]}]\n", rules, target))
	p := &prometheus{t, freeAddress(t)}
	cmd := exec.Command(program(t, "prometheus"), "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+p.addr)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = log.Close()
	})
	awaitPort(t, p.addr)
	return p
}

// ask calls its API.
func (p *prometheus) ask(path string, query url.Values, out any) {
	p.t.Helper()
	resp, err := http.Get("http://" + p.addr + "/api/v1/" + path + "?" + query.Encode())
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	answer := struct {
		Status, Error string
		Data          any
	}{Data: out}
	if err == nil {
		err = json.Unmarshal(body, &answer)
	}
	if err != nil || answer.Status != "success" {
		p.t.Fatalf("%s %v: %v %s\n%s", path, query, err, answer.Error, body)
	}
}

// has reports whether an expression has a value that is a number.
func (p *prometheus) has(expr string) bool {
	p.t.Helper()
	var data struct{ Result []struct{ Value [2]any } }
	p.ask("query", url.Values{"query": {expr}}, &data)
	for _, r := range data.Result {
		if v, err := strconv.ParseFloat(r.Value[1].(string), 64); err == nil && !math.IsNaN(v) {
			return true
		}
	}
	return false
}

// busy has clients do a little of everything until the returned function is called.
func busy(t *testing.T, s *server) (end func()) {
	t.Helper()
	stop := make(chan struct{})
	var all sync.WaitGroup
	sub := v5Of(t, s, "sub", lasting)
	sub.subscribe(codec.Subscription{Filter: codec.View("live/#"), QoS: 2}, codec.Subscription{Filter: codec.View("$share/group/live/1"), QoS: 1})
	absent(t, s, "away", "live/1")
	pub, again := v5Of(t, s, "pub", nil), v5Of(t, s, "again", nil)
	commander{t, s.dataDir()}.add("ann", "ann's")
	all.Go(func() {
		for {
			s.loginAs(codec.Version5, "ann", "ann's")
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	all.Go(func() { _, _ = io.Copy(io.Discard, sub.Conn) })
	all.Go(func() { _, _ = io.Copy(io.Discard, pub.Conn) })
	all.Go(func() {
		defer sub.Close()
		defer pub.Close()
		for id := uint16(1); ; id++ {
			for qos := codec.QoS(0); qos <= 2; qos++ {
				p := codec.Publish{QoS: qos, Topic: codec.View(fmt.Sprint("live/", qos)), Payload: codec.View("payload")}
				if qos > 0 {
					p.PacketID = max(id*4+uint16(qos), 1)
				}
				b, err := codec.AppendPublish(nil, &p, codec.Version5)
				if _, werr := pub.Write(b); err != nil || werr != nil {
					return
				}
			}
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	again.drop()
	return func() { close(stop); all.Wait() }
}

// TestOutsidePrometheus: promtool has nothing to say of the metrics, the rules and their tests; a real
// Prometheus scrapes the broker while clients are busy, evaluates every rule, and every
// expression of the dashboard returns data.
func TestOutsidePrometheus(t *testing.T) {
	dir := t.TempDir()
	writeCertificate(t, dir, 1)
	s := start(t, fmt.Sprintf("server: {listeners: [{kind: tls, address: '127.0.0.1:0', cert-file: %[1]s/cert.pem, key-file: %[1]s/key.pem}]}\nauth: {remember-password: 0s}", dir))
	defer busy(t, s)()
	p := startPrometheus(t, s.metrics)

	_, text := s.get("/metrics")
	lint := exec.Command(program(t, "promtool"), "check", "metrics")
	lint.Stdin = strings.NewReader(text)
	if out, err := lint.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	rules := filepath.Join(deployed, "prometheus")
	for _, args := range [][]string{
		{"check", "rules", filepath.Join(rules, "rules.yml")}, {"test", "rules", filepath.Join(rules, "rules_test.yml")},
		{"check", "config", filepath.Join(rules, "prometheus.yml")},
	} {
		if out, err := output(t, "promtool", args...); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}

	eventually(t, "Prometheus has scraped the broker", func() bool { return p.has(`up{job="promptmq"} == 1`) })
	d := readDashboard(t)
	exprs := map[string]string{}
	for _, panel := range d.Panels {
		for i, target := range panel.Targets {
			exprs[fmt.Sprintf("%s (%d), %d", panel.Title, panel.ID, i)] = target.Expr
		}
	}
	variables := strings.NewReplacer("$job", ".+", "$instance", ".+", "$__rate_interval", "10s")
	asked := len(exprs)
	defer func() {
		if t.Failed() {
			t.Logf("without data: %q", exprs)
		}
	}()
	eventually(t, "each expression of the dashboard has data", func() bool {
		for name, expr := range exprs {
			if p.has(variables.Replace(expr)) {
				delete(exprs, name)
			}
		}
		if len(exprs) > 0 {
			time.Sleep(time.Second)
		}
		return len(exprs) == 0
	})
	t.Logf("%d expressions of %d panels have data", asked, len(d.Panels))
	p.evaluates()

	s.write("no: such\n")
	if r := s.hangup(); r.text("msg") != notReloaded {
		t.Fatalf("%v", r)
	}
	eventually(t, "an alert is pending", func() bool { return p.has(`ALERTS{alertname="PromptMQReloadFailed",alertstate="pending"}`) })
}

// evaluates checks that each rule is evaluated and has no error.
func (p *prometheus) evaluates() {
	p.t.Helper()
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	rules := 0
	eventually(p.t, "each rule is evaluated", func() bool {
		p.ask("rules", nil, &data)
		rules = 0
		for _, g := range data.Groups {
			for _, r := range g.Rules {
				if r.LastError != "" {
					p.t.Fatalf("%s: %s", r.Name, r.LastError)
				}
				if rules++; r.Health != "ok" {
					return false
				}
			}
		}
		return rules > 0
	})
	p.t.Logf("%d rules are evaluated", rules)
}
