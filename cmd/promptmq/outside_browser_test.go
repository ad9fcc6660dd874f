//go:build outside

package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// mqttJS is a file: the program in dist/ of the npm package mqtt.
var mqttJS = flag.String("mqttjs", "", "dist/mqtt.min.js of the npm package mqtt")

// browserPage connects to the broker that its query names, and writes into result what came of it.
const browserPage = `<!doctype html><script src="/mqtt.js"></script><pre id="result"></pre><script>
const said = text => { document.getElementById("result").textContent = text; document.title = "done"; };
const client = mqtt.connect(new URLSearchParams(location.search).get("url"), {reconnectPeriod: 0, connectTimeout: 20000, protocolVersion: 5});
client.on("connect", () => client.subscribe("page/#", {qos: 1}, err => err ? said("subscribe: " + err) : client.publish("page/x", "from the page", {qos: 1})));
client.on("message", (topic, payload) => said("got " + payload + " on " + topic));
client.on("error", err => said("error: " + err.message));
client.on("close", () => { if (document.title != "done") said("closed"); });
</script>`

// TestOutsideBrowser: MQTT.js in Chromium, over ws and wss, from pages of an allowed origin and
// of another.
func TestOutsideBrowser(t *testing.T) {
	t.Parallel()
	if *mqttJS == "" {
		t.Fatal("-mqttjs is not given: see the target outside in the Makefile")
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, browserPage)
	})
	mux.HandleFunc("/mqtt.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, *mqttJS) })
	allowed, foreign := httptest.NewServer(mux), httptest.NewServer(mux)
	defer allowed.Close()
	defer foreign.Close()

	ca := newSigner(t, t.TempDir(), "ca")
	cert := ca.sign("server", time.Now().Add(24*time.Hour))
	s := start(t, fmt.Sprintf(`
server:
  listeners:
    - {name: pages, kind: ws, address: "127.0.0.1:0", path: /mqtt, origins: "%[1]s"}
    - {name: secure, kind: wss, address: "127.0.0.1:0", path: /mqtt, origins: "%[1]s", cert-file: %[2]s, key-file: %[3]s}
`, allowed.URL, ca.file("server", "crt"), ca.file("server", "key")), "--log-level", "debug")

	key := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	allocator, stop := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program(t, "chromium")), chromedp.NoSandbox,
		chromedp.Flag("ignore-certificate-errors-spki-list", base64.StdEncoding.EncodeToString(key[:])))...)
	defer stop()
	browser, stop := chromedp.NewContext(allocator)
	defer stop()

	const got = "got from the page on page/x"
	for _, c := range []struct{ page, broker, want string }{
		{allowed.URL, "ws://" + s.listening("pages") + "/mqtt", got},
		{allowed.URL, "wss://" + s.listening("secure") + "/mqtt", got},
		{foreign.URL, "ws://" + s.listening("pages") + "/mqtt", ""},
		{foreign.URL, "wss://" + s.listening("secure") + "/mqtt", ""},
	} {
		result := visit(t, browser, c.page+"/?url="+c.broker)
		if c.want != "" && result != c.want || c.want == "" && strings.HasPrefix(result, "got") || result == "" {
			t.Errorf("a page of %s at %s: %q, want %q", c.page, c.broker, result, c.want)
		}
	}
	if n := s.counted(`promptmq_connections_refused_total{reason="origin"}`); n < 2 {
		t.Errorf("%v pages were refused for their origin, want 2", n)
	}
	for _, r := range s.linesOf("WebSocket request refused") {
		if r.text("origin") != foreign.URL {
			t.Errorf("the log does not name the origin: %v", r)
		}
	}
}

// visit opens a page and returns its result.
func visit(t *testing.T, browser context.Context, url string) (result string) {
	t.Helper()
	tab, done := chromedp.NewContext(browser)
	defer done()
	tab, stop := context.WithTimeout(tab, 2*time.Minute)
	defer stop()
	if err := chromedp.Run(tab,
		chromedp.Navigate(url),
		chromedp.Poll(`document.title == "done"`, nil, chromedp.WithPollingTimeout(0)),
		chromedp.Text("#result", &result),
	); err != nil {
		t.Errorf("%s: %v", url, err)
	}
	return result
}
