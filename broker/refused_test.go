package broker_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/codec"
)

// TestRefusedFiltersAreTold: what SUBACK refuses is counted by reason, and a line
// of the log has the client, one of the filters, and the setting that is to blame;
// one a minute for each of both.
func TestRefusedFiltersAreTold(t *testing.T) { timeless(t, testRefusedFiltersAreTold) }

func testRefusedFiltersAreTold(t *testing.T) {
	s := newFixtureWith(t, func(o *broker.Options) {
		o.MaxTopicLevels = 3
		o.MaxSubscriptions = 2
		o.SharedSubAvailable = false
		o.WildcardAvailable = false
	})
	p := s.connectV5("asks", nil)
	long := strings.Repeat("x", 1000)

	for range 100 {
		for _, filter := range []string{
			"a/b/c/d", "$share/g/" + long, "#",
		} {
			if r := p.subscribeOne(filter, 0); r < 0x80 {
				t.Fatalf("%.30s: %v", filter, r)
			}
		}
	}
	p.subscribed(codec.Subscription{Filter: codec.View("1")}, codec.Subscription{Filter: codec.View("2")}, codec.Subscription{Filter: codec.View("3")},
		codec.Subscription{Filter: codec.View("4")})
	old, _ := s.connectAs(codec.Version311, "older", nil)
	old.subscribeOne("+", 0)

	for reason, n := range map[string]float64{
		"Topic Filter invalid": 100, "Shared Subscriptions not supported": 100, "Wildcard Subscriptions not supported": 101, "Quota exceeded": 2,
	} {
		if got := s.metric(fmt.Sprintf("promptmq_subscriptions_refused_total{reason=%q}", reason)); got != n {
			t.Errorf("%s: counted %v times, not %v", reason, got, n)
		}
	}
	lines := map[string]int{}
	for _, r := range s.journal.all() {
		if r.text("msg") != "subscription refused" {
			continue
		}
		lines[r.text("client")+" "+r.text("key")]++
		if f := r.text("filter"); f == "" || len(f) > 100 {
			t.Errorf("filter %q", f)
		}
		if r.text("key") == "mqtt.max-subscriptions" && (r["of_this_packet"] != 2.0 || r["limit"] != 2.0 || r.text("filter") != "3") {
			t.Errorf("%v", r)
		}
	}
	for _, who := range []string{"asks mqtt.max-topic-levels", "asks mqtt.shared-sub-available", "asks mqtt.wildcard-available",
		"asks mqtt.max-subscriptions", "older mqtt.wildcard-available"} {
		if n := lines[who]; n != 1 {
			t.Errorf("%s: %d lines", who, n)
		}
	}
}
