//go:build outside

package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/x0a1b/promptmq/codec"
)

// pagePictures is where the pictures of the page go that are for looking at.
var pagePictures = flag.String("page-pictures", "", "directory for pictures of the page; default: they are thrown away")

const (
	wide   = 1440 // pixels: a screen
	narrow = 360  // a phone
)

// picture takes one of a view and checks that nothing is cut off at its side.
func (v *visitor) picture(dir, name, scheme, hash, title, seen string, width int64) {
	v.t.Helper()
	height := int64(900)
	if width == narrow {
		height = 780
	}
	v.do(emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}), chromedp.EmulateViewport(width, height))
	v.view(hash, title)
	v.sees(seen)
	var over int
	var png []byte
	v.do(chromedp.Sleep(2*time.Second), chromedp.Evaluate(`document.documentElement.scrollWidth - document.documentElement.clientWidth`, &over), chromedp.CaptureScreenshot(&png))
	if over > 0 {
		v.t.Errorf("%s: the view is %d pixels wider than the screen", name, over)
	}
	if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%s-%d.png", name, scheme, width)), png, 0o600); err != nil {
		v.t.Error(err)
	}
}

// openSessions makes durable sessions, each with a subscription of its own, and leaves some of
// them connected.
func openSessions(t *testing.T, s *server, n, connected int) {
	t.Helper()
	var all sync.WaitGroup
	numbers := make(chan int)
	for range 64 {
		all.Go(func() {
			for i := range numbers {
				p := newRaw(t, dialTCP(t, s.mqtt), codec.Version5)
				id := fmt.Sprintf("site-%02d/sensor-%05d", i%40, i)
				c := codec.Connect{ClientID: codec.View(id), ReceiveMaximum: 65535, KeepAliveSeconds: 300}
				lasting(&c)
				connect, err := codec.AppendConnect(nil, &c, codec.Version5)
				subscribe, subscribeErr := codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, []codec.Subscription{{Filter: codec.View(id + "/set"), QoS: 1}}, codec.Version5)
				for _, b := range [][]byte{connect, subscribe} {
					_, writeErr := p.Write(b)
					_, readErr := p.next() // CONNACK, SUBACK
					err = errors.Join(err, subscribeErr, writeErr, readErr)
				}
				if err != nil {
					t.Error(err)
				}
				if i >= connected {
					_ = p.Close()
				}
			}
		})
	}
	for i := range n {
		numbers <- i
	}
	close(numbers)
	all.Wait()
}

// keepPublishing publishes for sessions with and without a connection until the test ends.
func keepPublishing(t *testing.T, s *server, sessions int) {
	p := v5Of(t, s, "publisher", nil)
	end, ended := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(end); <-ended })
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			select {
			case <-end:
				return
			case <-time.After(2 * time.Millisecond):
			}
			n := i * 7 % sessions
			pub := codec.Publish{
				QoS: codec.QoS(i % 2), Retain: i%50 == 1, Topic: codec.View(fmt.Sprintf("site-%02d/sensor-%05d/set", n%40, n)),
				Payload: codec.View(fmt.Sprintf(`{"setpoint": %d.5, "unit": "°C", "valid": true, "history": [20.5, 21, 21.25]}`, 18+i%9)),
			}
			if pub.QoS > 0 {
				pub.PacketID = uint16(i%60_000 + 1)
			}
			b, err := codec.AppendPublish(nil, &pub, codec.Version5)
			if err == nil {
				_, err = p.Write(b)
			}
			if err == nil && pub.QoS > 0 {
				_, err = p.next()
			}
			if err != nil {
				return // the broker has ended
			}
		}
	}()
}

// TestOutsidePagePictures: the page with 3 clients and with 20,000, on a screen and on a phone,
// light and dark.
func TestOutsidePagePictures(t *testing.T) {
	dir := cmp.Or(*pagePictures, t.TempDir())
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, sessions := range []int{2, 20_000} {
		s, page := administeredPage(t)
		openSessions(t, s, sessions, min(sessions, 300))
		keepPublishing(t, s, sessions)
		v := visitPage(t, page)
		name := fmt.Sprintf("%d-", sessions+1)
		v.picture(dir, name+"signin", "light", "#/", "PromptMQ", "true", narrow)
		v.signIn("ann", "correct horse")
		v.sees(`document.querySelector("h1")?.innerText === "Overview"`)
		v.sees(`document.querySelectorAll(".plot path").length > 3`)
		const client, rows = "site-01/sensor-00001", `document.querySelectorAll("main tbody tr").length > 1`
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int64{wide, narrow} {
				v.picture(dir, name+"overview", scheme, "#/", "Overview", `document.querySelectorAll(".plot path").length > 3`, width)
				v.picture(dir, name+"clients", scheme, "#/clients", "Clients", rows, width)
				v.picture(dir, name+"client", scheme, "#/clients/site-01%2Fsensor-00001", client, `document.querySelectorAll("main section").length > 4`, width)
				v.picture(dir, name+"sessions", scheme, "#/sessions", "Sessions", rows, width)
				v.picture(dir, name+"retained", scheme, "#/retained?topic=site-01%2Fsensor-00001%2Fset", "Retained messages", `document.querySelector(".detail h2, .detail .failure") !== null`, width)
			}
		}
		for hash, title := range map[string]string{
			"subscriptions": "Subscriptions", "drops": "Drops", "store": "Store", "access": "Users and rules", "settings": "Configuration", "log": "Log", "publish": "Publish", "bans": "Bans",
		} {
			v.picture(dir, name+hash, "light", "#/"+hash, title, `document.querySelector("main [aria-busy]") === null`, wide)
			v.picture(dir, name+hash, "dark", "#/"+hash, title, `document.querySelector("main [aria-busy]") === null`, narrow)
		}
		if wrong := v.complaints("401", "404"); len(wrong) > 0 {
			t.Errorf("the browser complains: %q", wrong)
		}
		s.stop()
	}
}
