package broker_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/codec"
)

var (
	aclSeed  = flag.Uint64("acl.seed", 0, "the one world of TestACLOracle to run; 0: random ones")
	aclCases = flag.Int("acl.cases", 3000, "how many decisions TestACLOracle compares at least")
)

// TestACLOracle compares what Clients can do and are given with what the oracle allows, on
// every path of a message, both ways: nothing more comes and nothing less. -acl.cases=100000
// is the long mode, -acl.seed replays one world.
func TestACLOracle(t *testing.T) {
	seed := *aclSeed
	if seed == 0 {
		seed = rand.Uint64()%1e15 + 1
	}
	for cases, paths := 0, map[string]int{}; ; seed++ {
		var w *aclWorld
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w = &aclWorld{t: t, rng: rand.New(rand.NewPCG(seed, 12)), cases: map[string]int{}}
				w.run()
			})
		})
		if !ok {
			t.Fatalf("-run '^TestACLOracle$' -acl.seed=%d", seed)
		}
		for path, n := range w.cases {
			paths[path] += n
			cases += n
		}
		if *aclSeed != 0 || cases >= *aclCases {
			t.Logf("%d cases: %v", cases, paths)
			return
		}
	}
}

// An aclWorld is a broker, its Clients, and what the oracle must know of them.
type aclWorld struct {
	t     *testing.T
	rng   *rand.Rand
	f     *fixture
	rules []access.Rule
	gone  string // a user whom nobody knows any more
	cases map[string]int
	seq   int // of payloads

	watcher    *aclClient // may do everything
	receivers  []*aclClient
	members    []*aclClient // of the Shared Subscription
	publishers []*aclClient
	retained   map[string]sending       // by topic
	tokens     map[string][]access.Rule // by Client Identifier
}

// An aclClient is one Client.
type aclClient struct {
	aclIdentity
	v    codec.Version
	p    *peer    // nil: not connected
	hold bool     // it does not acknowledge PUBLISH
	got  []string // payloads
	id   uint16
}

var (
	aclUsers  = []string{"", "anna", "ben", "+", "#", "a/b", "$s", "a", "50%u"}
	aclGroups = map[string][]string{"anna": {"g"}, "ben": {"g", "h"}, "+": {"h"}, "a": {"#"}}
	aclLevels = []string{"a", "b", "anna", "$s", "c1", "", "50%u"}
	aclIDs    = []string{"c1", "+", "#", "a", "x/y", "$s", "anna", "+/b", "c2", "c3", "c4", "c5"}
)

func pick[T any](rng *rand.Rand, of []T) T { return of[rng.IntN(len(of))] }

// topic is a random Topic Name.
func (w *aclWorld) topic() string {
	for {
		levels := make([]string, 1+w.rng.IntN(3))
		for i := range levels {
			levels[i] = pick(w.rng, aclLevels)
		}
		if s := strings.Join(levels, "/"); s != "" {
			return s
		}
	}
}

// filter is a random Topic Filter; that of a rule may have %u and %c in it.
func (w *aclWorld) filter(of []string) string {
	for {
		levels := make([]string, 1+w.rng.IntN(3))
		for i := range levels {
			levels[i] = pick(w.rng, of)
		}
		if w.rng.IntN(2) == 0 {
			levels[len(levels)-1] = "#"
		}
		if s := strings.Join(levels, "/"); s != "" && !strings.Contains(strings.TrimSuffix(s, "#"), "#") {
			return s
		}
	}
}

func (w *aclWorld) rule() access.Rule {
	for {
		r := access.Rule{
			Deny: w.rng.IntN(3) == 0, Actions: access.Actions(1 + w.rng.IntN(7)), MaxQoS: codec.QoS(w.rng.IntN(3)), NoRetain: w.rng.IntN(4) == 0,
			Filter: w.filter([]string{"+", "+", "%u", "%c", "a", "b", "anna", "$s", "c1", "p%u", "%c%u"}),
		}
		switch w.rng.IntN(8) {
		case 0, 1:
			r.User = pick(w.rng, aclUsers)
		case 2:
			r.Group = pick(w.rng, []string{"g", "h", "#"})
		case 3:
			r.Client = pick(w.rng, aclIDs)
		case 4:
			r.Nobody = true
		}
		if r.Check() == nil {
			return r
		}
	}
}

// decree sets a random Policy, by which the watcher may do everything.
func (w *aclWorld) decree() {
	w.rules = []access.Rule{
		{User: "watcher", Actions: 7, Filter: "#", MaxQoS: 2}, {User: "watcher", Actions: 7, Filter: "$s/#", MaxQoS: 2},
	}
	for range w.rng.IntN(8) {
		w.rules = append(w.rules, w.rule())
	}
	if w.rng.IntN(2) == 0 { // else most is denied
		w.rules = append(w.rules, access.Rule{Actions: access.Actions(1 + w.rng.IntN(7)), Filter: "#", MaxQoS: 2})
	}
	w.enforce()
}

// permit lets all do everything.
func (w *aclWorld) permit() {
	w.rules = []access.Rule{{Actions: 7, Filter: "#", MaxQoS: 2}, {Actions: 7, Filter: "$s/#", MaxQoS: 2}}
	w.enforce()
}

func (w *aclWorld) enforce() { w.f.b.SetPolicy(access.NewPolicy(w.rules)) }

// Groups implements broker.Directory.
func (w *aclWorld) Groups(user string) ([]string, bool) { return aclGroups[user], user != w.gone }

func (w *aclWorld) setGone(user string) {
	w.gone = user
	w.f.b.SetDirectory(w)
}

// absent is the Client without a connection.
func (w *aclWorld) absent(c *aclClient) aclIdentity {
	who := c.aclIdentity
	who.own, who.gone = nil, who.user != "" && who.user == w.gone
	return who
}

// now is the Client as it is.
func (w *aclWorld) now(c *aclClient) aclIdentity {
	if c.p == nil {
		return w.absent(c)
	}
	return c.aclIdentity
}

func (w *aclWorld) newClient(user, id string) *aclClient {
	return &aclClient{aclIdentity: aclIdentity{user: user, client: id, groups: aclGroups[user]}, v: codec.Version5}
}

// connect connects c and returns the Reason Code of CONNACK.
func (w *aclWorld) connect(c *aclClient, change func(*codec.Connect)) codec.ReasonCode {
	p, ack := w.f.connectAs(c.v, c.client, func(o *codec.Connect) {
		o.HasUserName, o.UserName = c.user != "", codec.View(c.user)
		if change != nil {
			change(o)
		}
		if c.v != codec.Version5 {
			o.HasSessionExpiry, o.SessionExpirySeconds = false, 0
		}
	})
	if c.p = p; ack.Reason != codec.Success {
		c.p = nil
	}
	return ack.Reason
}

// authority says what tokens say.
func (w *aclWorld) authority(_ context.Context, a *access.Attempt) (*access.Identity, error) {
	id := &access.Identity{User: a.User, Groups: aclGroups[a.User], Method: access.ByToken}
	id.Rules = w.tokens[a.ClientID]
	return id, nil
}

func (w *aclWorld) begin() {
	w.f = newFixtureWith(w.t, func(o *broker.Options) {
		o.Authenticator, o.Directory, o.Policy = authority{w.authority}, w, access.NewPolicy(w.rules)
	})
	w.retained, w.tokens = map[string]sending{}, map[string][]access.Rule{}
	w.permit()
	ids := slices.Clone(aclIDs)
	w.rng.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	next := func() (c *aclClient) {
		c, ids = w.newClient(pick(w.rng, aclUsers), ids[0]), ids[1:]
		return c
	}
	w.watcher = w.newClient("watcher", "watcher")
	for range 3 {
		w.receivers, w.members = append(w.receivers, next()), append(w.members, next())
	}
	for i := range 3 {
		c := next()
		if i == 1 {
			w.token(c)
		}
		if i == 2 {
			c.v = codec.Version311
		}
		w.publishers = append(w.publishers, c)
	}
	for _, c := range w.everybody() {
		w.must(w.connect(c, resumed))
	}
	for _, c := range append(w.receivers, w.watcher) {
		c.p.subscribed(codec.Subscription{Filter: codec.View("#"), QoS: 2}, codec.Subscription{Filter: codec.View("$s/#"), QoS: 2})
	}
	for _, c := range w.members {
		c.p.subscribed(codec.Subscription{Filter: codec.View("$share/g/#"), QoS: 2})
	}
}

// token gives c rules of its own.
func (w *aclWorld) token(c *aclClient) {
	c.own = []access.Rule{w.rule(), w.rule()}
	w.tokens[c.client] = c.own
}

func (w *aclWorld) everybody() []*aclClient {
	return slices.Concat([]*aclClient{w.watcher}, w.receivers, w.members, w.publishers)
}

func (w *aclWorld) must(reason codec.ReasonCode) {
	w.t.Helper()
	if reason != codec.Success {
		w.t.Fatal(reason)
	}
}

// settle waits until nothing is under way.
func (w *aclWorld) settle() {
	time.Sleep(time.Second)
	synctest.Wait()
}

// drain reads all that comes to c, and acknowledges it.
func (w *aclWorld) drain(c *aclClient) {
	w.t.Helper()
	w.settle()
	for more := true; more; {
		more = false
		c.p.write(codec.AppendPingreq(nil), nil)
		for f := (codec.Frame{}); f.Type() != codec.TypePingresp; {
			var err error
			if f, err = c.p.next(); err != nil {
				w.t.Fatal(err)
			}
			more = w.take(c, f) || more
		}
		synctest.Wait()
	}
}

// take handles one packet that came to c, and reports whether it answered.
func (w *aclWorld) take(c *aclClient, f codec.Frame) bool {
	w.t.Helper()
	switch f.Type() {
	case codec.TypePublish:
		var m codec.Publish
		if err := m.Decode(f, c.v); err != nil {
			w.t.Fatal(err)
		}
		c.got = append(c.got, string(m.Payload))
		if m.QoS == 0 || c.hold {
			return false
		}
		c.p.ack([]codec.PacketType{codec.TypePuback, codec.TypePubrec}[m.QoS-1], m.PacketID)
	case codec.TypePubrel:
		var a codec.Ack
		if err := a.Decode(f, c.v); err != nil {
			w.t.Fatal(err)
		}
		c.p.ack(codec.TypePubcomp, a.PacketID)
	case codec.TypePingresp:
		return false
	default:
		w.t.Fatalf("%q got %v", c.client, f.Type())
	}
	return true
}

// drainAll reads all that comes to all who are connected, and forgets what came before.
func (w *aclWorld) drainAll() {
	w.t.Helper()
	for _, c := range w.everybody() {
		c.got = nil
	}
	for range 2 { // what one acknowledges may go to another
		for _, c := range w.everybody() {
			if c.p != nil {
				w.drain(c)
			}
		}
	}
}

// A sending is a message of which the oracle knows.
type sending struct {
	topic, payload string
	qos            codec.QoS
	retain, passed bool // may be published
}

func (m sending) String() string {
	return fmt.Sprintf("%s to %q, QoS %d, retain %v", m.payload, m.topic, m.qos, m.retain)
}

func (w *aclWorld) message(qosMin int) sending {
	w.seq++
	return sending{topic: w.topic(), payload: fmt.Sprint("m", w.seq), qos: codec.QoS(qosMin + w.rng.IntN(3-qosMin)), retain: w.rng.IntN(5) == 0}
}

// publish has c publish m, and compares the answer with the oracle.
func (w *aclWorld) publish(c *aclClient, m sending) sending {
	w.t.Helper()
	m.passed = w.now(c).allowed(w.rules, access.Publish, m.topic, m.qos, m.retain)
	if m.passed && m.retain {
		w.retained[m.topic] = m
	}
	c.id++
	c.p.sendPublish(codec.Publish{QoS: m.qos, PacketID: c.id, Topic: codec.View(m.topic), Payload: codec.View(m.payload), Retain: m.retain})
	answer := codec.Success
	if !m.passed && c.v == codec.Version5 {
		answer = codec.NotAuthorized
	}
	if m.qos > 0 {
		if got := w.await(c, []codec.PacketType{codec.TypePuback, codec.TypePubrec}[m.qos-1]); got != answer {
			w.wrong("publish", c, "%v: %v, expected %v", m, got, answer)
		}
	}
	if m.qos == 2 && answer == codec.Success {
		c.p.ack(codec.TypePubrel, c.id)
		w.await(c, codec.TypePubcomp)
	}
	w.cases["publish"]++
	return m
}

// await returns the Reason Code of the next acknowledgement of type t; what c gets besides may
// come before.
func (w *aclWorld) await(c *aclClient, t codec.PacketType) codec.ReasonCode {
	w.t.Helper()
	for {
		f, err := c.p.next()
		if err != nil {
			w.t.Fatal(err)
		}
		if f.Type() == t {
			var a codec.Ack
			if err := a.Decode(f, c.v); err != nil {
				w.t.Fatal(err)
			}
			return a.Reason
		}
		w.take(c, f)
	}
}

func (w *aclWorld) wrong(path string, c *aclClient, format string, args ...any) {
	w.t.Helper()
	rules := ""
	for _, r := range w.rules {
		rules += fmt.Sprintf("\n  %+v", r)
	}
	w.t.Fatalf("%s: user %q, Client %q, own rules %+v: %s\nrules:%s", path, c.user, c.client, c.own, fmt.Sprintf(format, args...), rules)
}

// compare checks what came to c.
func (w *aclWorld) compare(path string, c *aclClient, want []string) {
	w.t.Helper()
	got, expected := slices.Sorted(slices.Values(c.got)), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, expected) {
		w.wrong(path, c, "got %q, expected %q", got, expected)
	}
	c.got = nil
}

// came checks that m came to whom it should: to all receivers that are connected, and to one
// member of the Shared Subscription.
func (w *aclWorld) came(path string, m sending) {
	w.t.Helper()
	w.drainAll()
	for _, c := range append(w.receivers, w.watcher) {
		var want []string
		if c.p != nil && m.passed && w.now(c).allowed(w.rules, access.Receive, m.topic, m.qos, false) {
			want = []string{m.payload}
		}
		w.compare(path, c, want)
		w.cases[path]++
	}
	w.one("shared", m, func(c *aclClient) bool {
		return m.passed && w.now(c).allowed(w.rules, access.Receive, m.topic, m.qos, false)
	})
}

// one checks that m came to one member that may have it, if there is any.
func (w *aclWorld) one(path string, m sending, may func(*aclClient) bool) {
	w.t.Helper()
	total, anybody := 0, false
	for _, c := range w.members {
		n := len(c.got)
		if n > 0 && !may(c) {
			w.wrong(path, c, "%v came", m)
		}
		total += n
		c.got = nil
		anybody = anybody || may(c) && m.topic[0] != '$' && (c.p != nil || m.qos > 0)
		w.cases[path]++
	}
	if want := map[bool]int{true: 1}[anybody]; total != want {
		w.wrong(path, w.members[0], "%v came %d times, expected %d", m, total, want)
	}
}
