//go:build outside

package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/x0a1b/promptmq/codec"
)

// markup is a name that would be seen if it ever became HTML.
const markup = `<img src=x onerror="document.title='broken'">`

// administeredPage starts a broker with its page and a user of each role.
func administeredPage(t *testing.T) (s *server, page string) {
	t.Helper()
	address := freeAddress(t)
	s = start(t, "auth:\n  allow-anonymous: true\nadmin:\n  bind: "+address+"\n")
	c := commander{t, s.dataDir()}
	c.add("ann", "correct horse", "--role", "admin")
	c.add("vic", "battery staple", "--role", "viewer")
	awaitPort(t, address)
	return s, "http://" + address
}

// A visitor is a person at the page, in a browser of its own.
type visitor struct {
	t    *testing.T
	page string
	ctx  context.Context

	mu    sync.Mutex
	wrong []string // what the browser complains about
}

func visitPage(t *testing.T, page string) *visitor {
	t.Helper()
	ctx, stop := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program(t, "chromium")), chromedp.NoSandbox)...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx, chromedp.WithErrorf(func(string, ...any) {}))
	t.Cleanup(stop)
	ctx, stop = context.WithTimeout(ctx, 4*time.Minute)
	t.Cleanup(stop)
	v := &visitor{t: t, page: page, ctx: ctx}
	chromedp.ListenTarget(ctx, v.hear)
	v.do(log.Enable(), runtime.Enable(), chromedp.EmulateViewport(1440, 900), chromedp.Navigate(page+"/"))
	return v
}

// hear keeps what the browser complains about, such as what the policy refuses.
func (v *visitor) hear(event any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		v.wrong = append(v.wrong, e.ExceptionDetails.Error())
	case *runtime.EventConsoleAPICalled:
		v.wrong = append(v.wrong, fmt.Sprintf("console.%s: %s", e.Type, e.Args[0].Value))
	case *log.EventEntryAdded:
		v.wrong = append(v.wrong, fmt.Sprintf("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL))
	}
}

// complaints returns what the browser complained about, but for answers with one of the
// statuses, and forgets it.
func (v *visitor) complaints(statuses ...string) (wrong []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
next:
	for _, w := range v.wrong {
		for _, status := range statuses {
			if strings.HasPrefix(w, "network: ") && strings.Contains(w, "status of "+status) {
				continue next
			}
		}
		wrong = append(wrong, w)
	}
	v.wrong = nil
	return wrong
}

func (v *visitor) do(actions ...chromedp.Action) {
	v.t.Helper()
	if err := chromedp.Run(v.ctx, actions...); err != nil {
		v.t.Fatal(err)
	}
}

// sees waits until a JavaScript expression is true.
func (v *visitor) sees(expression string) {
	v.t.Helper()
	if err := chromedp.Run(v.ctx, chromedp.Poll(expression, nil, chromedp.WithPollingTimeout(time.Minute))); err != nil {
		var text string
		_ = chromedp.Run(v.ctx, chromedp.Evaluate(`location.hash + "\n" + document.body.innerText`, &text))
		v.t.Fatalf("%s: %v; the page says:\n%s", expression, err, text)
	}
}

// reads waits until the page has a text.
func (v *visitor) reads(text string) {
	v.t.Helper()
	v.sees(fmt.Sprintf("document.body.innerText.includes(%q)", text))
}

// view goes to an address within the page.
func (v *visitor) view(hash, title string) {
	v.t.Helper()
	v.do(chromedp.Evaluate(fmt.Sprintf("location.hash = %q; 0", hash), nil))
	v.sees(fmt.Sprintf("document.querySelector('h1')?.innerText === %q", title))
}

// press clicks on the button or link of a name: in the dialog if there is one, else in the view,
// else anywhere.
func (v *visitor) press(name string) {
	v.t.Helper()
	v.sees(fmt.Sprintf("(%s)(%q) !== undefined", findVisible, name))
	v.do(chromedp.Evaluate(fmt.Sprintf("(%s)(%q).click(); 0", findVisible, name), nil))
}

const findVisible = `name => {
	const dialog = document.querySelector("dialog[open]");
	const places = dialog ? [dialog] : [document.querySelector("main"), document.body];
	return places.flatMap(place => [...place.querySelectorAll("button, a")])
		.find(e => e.checkVisibility() && !e.disabled && (e.innerText.trim() === name || e.getAttribute("aria-label") === name || e.querySelector(".name")?.innerText === name));
}`

// write puts a text into the field of a name, as from the keyboard.
func (v *visitor) write(field, text string) {
	v.t.Helper()
	selector := fmt.Sprintf(`:is(input, textarea)[name=%s]`, field)
	v.do(chromedp.WaitVisible(selector), chromedp.Evaluate(fmt.Sprintf("document.querySelector(%q).select(); document.querySelector(%[1]q).focus(); 0", selector), nil),
		chromedp.KeyEvent(text))
}

func (v *visitor) signIn(user, password string) {
	v.t.Helper()
	v.write("user", user)
	v.write("password", password)
	v.press("Sign in")
}

// TestOutsidePage: what a person does at the page, and that it does happen at the broker.
func TestOutsidePage(t *testing.T) {
	t.Parallel()
	s, page := administeredPage(t)
	victim := v5Of(t, s, "line-7/press", lasting)
	victim.subscribeOne("press/#", 1)
	hostile := v5Of(t, s, markup, lasting)
	hostile.subscribeOne(markup+"/#", 1)
	hostile.publish(codec.Publish{QoS: 1, PacketID: 1, Retain: true, Topic: codec.View("a/" + markup), Payload: codec.View(markup)})
	hostile.ack(codec.TypePuback)

	v := visitPage(t, page)
	v.signIn("ann", "wrong")
	v.reads("User name or password is wrong")
	v.signIn("ann", "correct horse")
	v.sees(`document.querySelector("h1")?.innerText === "Overview"`)
	v.sees(`document.querySelectorAll(".plot path.line").length > 3`)

	v.view("#/clients", "Clients")
	v.write("search", "line-7")
	v.sees(`document.querySelectorAll("main tbody tr").length === 1`)
	v.press("line-7/press")
	v.reads("press/#")
	v.press("Disconnect…")
	v.press("Disconnect")
	victim.closed(codec.AdministrativeAction)
	v.reads("away")

	v.view("#/publish?topic=shelf%2F1", "Publish")
	v.write("payload", `{"full": true}`)
	v.do(chromedp.Click(`[name=retain]`))
	v.press("Publish")
	v.reads("Published, to 0 subscribers.")
	v.view("#/retained", "Retained messages")
	v.press("shelf")
	v.press("1")
	v.reads(`"full": true`)
	v.press("Delete…")
	v.press("Delete")
	v.reads("Deleted.")
	late := v5Of(t, s, "late", nil)
	late.subscribeOne("shelf/#", 1)
	late.quiet()

	v.view("#/access", "Users and rules")
	v.write("rule", "allow user ann publish topic shelf/#")
	v.press("Add")
	v.reads("The first rule")
	v.write("topic", "cellar/1")
	v.press("Explain")
	v.reads("Denied")

	v.markupStaysText()
	if wrong := v.complaints("401"); len(wrong) > 0 {
		t.Errorf("the browser complains: %q", wrong)
	}
	v.press("Sign out")
	v.sees(`document.querySelector("[name=password]") !== null`)
}

// markupStaysText goes through all views where a hostile name is shown.
func (v *visitor) markupStaysText() {
	v.t.Helper()
	seen := fmt.Sprintf("document.querySelector('main').innerText.includes(%q)", markup)
	for hash, title := range map[string]string{
		"#/clients": "Clients", "#/sessions": "Sessions", "#/subscriptions": "Subscriptions", "#/retained?filter=%23": "Retained messages",
		"#/clients/" + strings.NewReplacer("<", "%3C", ">", "%3E", " ", "%20", `"`, "%22", "=", "%3D", "'", "%27").Replace(markup): markup,
	} {
		v.view(hash, title)
		v.sees(seen)
	}
	v.view("#/retained", "Retained messages")
	v.press("a")
	v.sees(seen)
	v.press(markup)
	v.sees(fmt.Sprintf("document.querySelector('.payload')?.innerText.includes(%q)", markup))
	v.view("#/log", "Log")
	var images, title string
	v.do(chromedp.Evaluate(`document.querySelectorAll("main img").length + ""`, &images), chromedp.Title(&title))
	if images != "0" || strings.Contains(title, "broken") {
		v.t.Errorf("%s images in the views, the title is %q", images, title)
	}
}

// TestOutsidePageViewer: a viewer has no buttons, and what they would do is refused.
func TestOutsidePageViewer(t *testing.T) {
	t.Parallel()
	s, page := administeredPage(t)
	client := v5Of(t, s, "c", lasting)
	client.subscribeOne("a", 1)
	v := visitPage(t, page)
	v.signIn("vic", "battery staple")
	v.sees(`document.querySelector("h1")?.innerText === "Overview"`)
	v.view("#/clients/c", "c")
	v.reads("Queue and in flight")
	const buttons = `[...document.querySelectorAll("main button")].filter(b => /…|Remove|Subscribe|Delete|Lift|Add|Publish/.test(b.innerText)).length === 0`
	v.sees(buttons)
	for hash, title := range map[string]string{
		"#/sessions": "Sessions", "#/access": "Users and rules", "#/bans": "Bans", "#/settings": "Configuration", "#/publish": "Not found", "#/retained": "Retained messages",
	} {
		v.view(hash, title)
		v.sees(buttons)
	}
	for _, request := range []string{`"/api/v1/clients/c/disconnect", {method: "POST", headers: {"Content-Type": "application/json"}, body: "{}"}`,
		`"/api/v1/sessions/c", {method: "DELETE"}`, `"/api/v1/retained?filter=%23", {method: "DELETE"}`} {
		var status int
		v.do(chromedp.Evaluate(`fetch(`+request+`).then(r => r.status)`, &status, awaited))
		if status != http.StatusForbidden {
			t.Errorf("%s by a viewer: %d", request, status)
		}
	}
	client.quiet()
	if wrong := v.complaints("401", "403"); len(wrong) > 0 {
		t.Errorf("the browser complains: %q", wrong)
	}
}

func awaited(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }

// foreign is a page that tries to change something at a broker, with the cookie of who is
// signed in there.
const foreign = `<!doctype html><title>trying</title><body><script>
const api = new URLSearchParams(location.search).get("page") + "/api/v1";
const form = (path, fields) => { const f = document.createElement("form"), i = document.createElement("iframe"); i.name = f.target = "i" + Math.random();
	f.method = "post"; f.enctype = "text/plain"; f.action = api + path; for (const [n, v] of fields) { const e = document.createElement("input"); e.name = n; e.value = v; f.append(e); } document.body.append(i, f); f.submit(); };
const attempts = [];
for (const headers of [{}, {"Content-Type": "text/plain"}, {"Content-Type": "application/json"}]) for (const mode of ["cors", "no-cors"]) {
	attempts.push(fetch(api + "/clients/c/disconnect", {method: "POST", credentials: "include", mode, headers, body: "{}"}));
	attempts.push(fetch(api + "/publish", {method: "POST", credentials: "include", mode, headers, body: '{"topic":"kept","payload":"","retain":true,"qos":1}'}));
	attempts.push(fetch(api + "/retained?filter=%23", {method: "DELETE", credentials: "include", mode, headers}));
}
form("/clients/c/disconnect", [['{"reason":"', '"}']]);
form("/publish", [['{"topic":"kept","qos":1,"retain":true,"payload":"","content_type":"', '"}']]);
for (const path of ["/clients/c/disconnect", "/sessions/c", "/retained?filter=%23", "/reload"]) { const i = new Image(); i.src = api + path; document.body.append(i); }
const reading = fetch(api + "/clients", {credentials: "include"}).then(r => r.text()).catch(() => "nothing");
Promise.allSettled([...attempts, reading, new Promise(done => addEventListener("load", () => setTimeout(done, 1000)))]).then(async () => { document.body.dataset.read = await reading; document.title = "done"; });
</script>`

// TestOutsidePageForeign: a page of another origin, in the browser of somebody who is signed
// in, changes nothing and reads nothing.
func TestOutsidePageForeign(t *testing.T) {
	t.Parallel()
	s, page := administeredPage(t)
	client := v5Of(t, s, "c", lasting)
	client.publish(codec.Publish{QoS: 1, PacketID: 1, Retain: true, Topic: codec.View("kept"), Payload: codec.View("as it was")})
	client.ack(codec.TypePuback)
	v := visitPage(t, page)
	v.signIn("ann", "correct horse")
	v.sees(`document.querySelector("h1")?.innerText === "Overview"`)

	there := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, foreign)
	}))
	defer there.Close()
	// Another port is of the same site, so that cookies go along; another name is not.
	for _, origin := range []string{there.URL, strings.Replace(there.URL, "127.0.0.1", "localhost", 1)} {
		var read string
		v.do(chromedp.Navigate(origin+"/?page="+page), chromedp.Poll(`document.title === "done"`, nil, chromedp.WithPollingTimeout(time.Minute)),
			chromedp.Evaluate(`document.body.dataset.read`, &read))
		if read != "nothing" {
			t.Errorf("%s could read %q", origin, read)
		}
	}
	client.quiet()
	late := v5Of(t, s, "late", nil)
	late.subscribeOne("kept", 1)
	if got := late.receive(); string(got.Payload) != "as it was" {
		t.Errorf("the retained message is %q", got.Payload)
	}

	// The control: what the foreign page tried is done for the page itself.
	var status int
	v.do(chromedp.Navigate(page+"/"), chromedp.Evaluate(`fetch("/api/v1/clients/c/disconnect", {method: "POST", headers: {"Content-Type": "application/json"}, body: "{}"}).then(r => r.status)`, &status, awaited))
	client.closed(codec.AdministrativeAction)
	if status >= http.StatusBadRequest {
		t.Errorf("the page itself is answered %d", status)
	}
}
