package broker_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/codec"
)

// sysOf collects all that comes below $SYS/broker/ until everything waits.
func (p *peer) sysOf(t *testing.T) (values map[string]string, retained int) {
	t.Helper()
	values = make(map[string]string)
	synctest.Wait()
	p.sendPing()
	for {
		f, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		if f.Type() == codec.TypePingresp {
			return values, retained
		}
		var m codec.Publish
		if err := m.Decode(f, codec.Version5); err != nil {
			t.Fatal(err)
		}
		name, sys := strings.CutPrefix(m.Topic.String(), "$SYS/broker/")
		if !sys || m.QoS != 0 {
			t.Fatalf("%s with QoS %d", m.Topic, m.QoS)
		}
		values[name] = m.Payload.String()
		if m.Retain {
			retained++
		}
	}
}

func (p *peer) sendPing() { p.write(codec.AppendPingreq(nil), nil) }

// TestSysValues: the figures are right, only what has changed follows, and it is nowhere
// stored nor counted as retained.
func TestSysValues(t *testing.T) {
	timeless(t, func(t *testing.T) {
		f := newFixtureWith(t)
		pub := f.connectV5("pub", nil)
		f.retain("a", "b")
		away := f.connectV5("away", lasting)
		away.subscribeOne("$share/g/x", 1)
		away.drop()
		time.Sleep(95 * time.Second)
		p := f.connectV5("p", nil)
		p.subscribeOne("$SYS/#", 2)
		values, retained := p.sysOf(t)
		if retained != len(values) || len(values) < 50 {
			t.Errorf("%d of %d are retained", retained, len(values))
		}
		for name, want := range map[string]string{
			"uptime": "95 seconds", "clients/total": "3", "clients/connected": "2", "clients/disconnected": "1", "clients/maximum": "2", "clients/expired": "0",
			"subscriptions/count": "1", "shared_subscriptions/count": "1", "retained messages/count": "2", "store/messages/count": "2", "messages/received": "4",
		} {
			if values[name] != want {
				t.Errorf("%s: %q, not %q", name, values[name], want)
			}
		}
		if values, _ := p.sysOf(t); len(values) != 0 {
			t.Errorf("%d follow at once", len(values))
		}
		pub.publish1(1, "nowhere", "12345")
		time.Sleep(10 * time.Second)
		values, retained = p.sysOf(t)
		if values["publish/bytes/received"] != "5" || values["uptime"] == "" || values["subscriptions/count"] != "" || retained != 0 {
			t.Errorf("%d retained of %v", retained, values)
		}
		if n := f.b.Numbers(); n.Retained != 2 {
			t.Errorf("%d messages are retained", n.Retained)
		}
		time.Sleep(3600 * time.Second)
		if values, _ = p.sysOf(t); values["clients/expired"] != "1" || values["clients/total"] != "2" {
			t.Errorf("expired: %v", values)
		}
	})
}

// TestSysWildcards: # and + do not begin with $, and who subscribes again gets all again.
func TestSysWildcards(t *testing.T) {
	timeless(t, func(t *testing.T) {
		f := newFixtureWith(t)
		p := f.connectV5("p", nil)
		p.subscribeOne("#", 0)
		p.subscribeOne("+/broker/uptime", 0)
		time.Sleep(30 * time.Second)
		if values, _ := p.sysOf(t); len(values) != 0 {
			t.Errorf("%d values", len(values))
		}
		for range 2 {
			p.subscribeOne("$SYS/broker/+", 0)
			if values, _ := p.sysOf(t); len(values) != 2 {
				t.Errorf("%v", values)
			}
		}
		f.b.SetOptions(func() broker.Options { o := broker.DefaultOptions(); o.SysInterval = 0; return o }())
		p.subscribeOne("$SYS/#", 0)
		time.Sleep(30 * time.Second)
		if values, _ := p.sysOf(t); len(values) != 0 {
			t.Errorf("%d values while it is off", len(values))
		}
	})
}

// TestSysRules: a rule decides who may see it, and the control sees it.
func TestSysRules(t *testing.T) {
	timeless(t, func(t *testing.T) {
		f := newFixtureWith(t)
		rules := func(text string) {
			r, err := access.ParseRule(text)
			if err != nil {
				t.Fatal(err)
			}
			f.b.SetPolicy(access.NewPolicy([]access.Rule{r}))
		}
		p := f.connectV5("p", nil)
		rules("allow everyone read topic #")
		if reason := p.subscribeOne("$SYS/#", 0); reason != codec.NotAuthorized {
			t.Errorf("%v", reason)
		}
		rules("allow everyone read topic $SYS/broker/clients/#")
		if reason := p.subscribeOne("$SYS/broker/clients/+", 0); reason != codec.Success {
			t.Errorf("%v", reason)
		}
		if values, _ := p.sysOf(t); len(values) != 7 {
			t.Errorf("%v", values)
		}
		rules("allow everyone read topic other/#")
		f.connectV5("q", nil)
		time.Sleep(20 * time.Second)
		if values, _ := p.sysOf(t); len(values) != 0 {
			t.Errorf("after the rule was taken back: %v", values)
		}
	})
}
