package admin

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// inNode runs a program of JavaScript that may import files of the page, and returns what it
// writes. Without node, which nothing else needs, the test is skipped.
func inNode(t *testing.T, program string) string {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no node")
	}
	run := exec.CommandContext(t.Context(), node, "--input-type=module", "--no-warnings", "-")
	run.Stdin = strings.NewReader(program)
	var wrong strings.Builder
	run.Stderr = &wrong
	out, err := run.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &wrong)
	}
	return string(out)
}

// TestPageScripts: node can read them, if there is one.
func TestPageScripts(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no node")
	}
	eachPageFile(t, func(name, text string) {
		if filepath.Ext(name) != ".js" {
			return
		}
		check := exec.Command(node, "--input-type=module", "--check", "-")
		check.Stdin = strings.NewReader(text)
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	})
}

// TestPagePolls: of what is asked again and again, at most one request a second, each in its
// turn, none while the page is hidden, and fewer while the broker is away.
func TestPagePolls(t *testing.T) {
	got := inNode(t, `
const file = process.cwd() + "/page/poll.js";
const {readFileSync} = await import("node:fs");
const {every, startPolling, retryNow} = await import("data:text/javascript," + encodeURIComponent(readFileSync(file, "utf8")));
let now = 0, tick, asked = [], fails = false;
globalThis.document = {hidden: false};
performance.now = () => now;
globalThis.setInterval = f => (tick = f);
const job = name => async () => { asked.push(name); if (fails) throw new Error(); };
every(1, job("numbers"));
const stop = every(5, job("list"));
startPolling();
const pass = async seconds => { asked = []; for (let i = 0; i < seconds; i++) { now += 1000; await tick(); } return asked.length + ":" + asked.filter(n => n === "list").length; };
const said = [await pass(60)];
document.hidden = true; said.push(await pass(60)); document.hidden = false;
fails = true; said.push(await pass(60) <= "20"); fails = false;
retryNow(); said.push((await pass(10)).split(":")[0]);
stop(); said.push(await pass(10));
console.log(said.join(" "));
`)
	if want := "60:12 0:0 true 10 10:0\n"; got != want {
		t.Errorf("requests:of them lists are %q, want %q", got, want)
	}
}

// TestPageNumbers: how numbers are written.
func TestPageNumbers(t *testing.T) {
	got := inNode(t, `
const {readFileSync} = await import("node:fs");
const f = await import("data:text/javascript," + encodeURIComponent(readFileSync(process.cwd() + "/page/format.js", "utf8")));
console.log([f.count(1310720), f.rate(0), f.rate(3.14), f.rate(20439.7), f.bytes(0), f.bytes(1023), f.bytes(1310720), f.bytes(41e9), f.axisBytes(8 << 20), f.axisBytes(100 << 20), f.axisBytes(2.5 * (1 << 20)),
	f.latency(0), f.latency(0.000362), f.latency(0.0076), f.latency(0.0452), f.latency(0.25), f.latency(3), f.axisLatency(0.01), f.duration(0), f.duration(59.6), f.duration(3661), f.duration(90000),
	f.short(20000), f.short(1500000), f.short(0.5), f.expiry(4294967295), f.expiry(0), f.plural(1, "client"), f.plural(20000, "client")].join("; "));
`)
	want := "1,310,720; 0; 3.1; 20,440; 0 B; 1,023 B; 1.25 MiB; 38.2 GiB; 8 MiB; 100 MiB; 2.5 MiB; " +
		"0 ms; 362 µs; 7.6 ms; 45.2 ms; 250 ms; 3.00 s; 10 ms; 0 s; 1 min; 1 h 1 min; 1 d 1 h; 20k; 1.5M; 0.5; never; with its connection; 1 client; 20,000 clients\n"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
