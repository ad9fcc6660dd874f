package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// scrape returns every sample of /metrics, by name with labels.
func (s *server) scrape() map[string]float64 {
	s.t.Helper()
	_, body := s.get("/metrics")
	samples := make(map[string]float64)
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			s.t.Fatalf("%s: %v", line, err)
		}
		samples[line[:at]] = v
	}
	return samples
}

// wants compares samples exactly, when nothing is under way any more.
func (s *server) wants(want map[string]float64) {
	s.t.Helper()
	var got map[string]float64
	wrong := func() (names []string) {
		got = s.scrape()
		for name, v := range want {
			if n, ok := got[name]; !ok || n != v {
				names = append(names, name)
			}
		}
		return names
	}
	for end := time.Now().Add(clientSeconds * time.Second); len(wrong()) > 0 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
	}
	for _, name := range wrong() {
		s.t.Errorf("%s is %v, expected %v", name, got[name], want[name])
	}
}

// entryBytes is what a queued message counts towards mqtt.max-queued-bytes.
func entryBytes(topic, payload string) float64 { return float64(64 + 32 + len(topic) + len(payload)) }

// TestQueueMetrics: queues, what is in flight and in memory are counted exactly, and anew after a
// restart.
func TestQueueMetrics(t *testing.T) {
	t.Parallel()
	s := start(t, "mqtt: {max-queued-messages: 4}")
	began := time.Now()
	absent(t, s, "three", "q/three")
	absent(t, s, "one", "q/one")
	pub := v5Of(t, s, "pub", nil)
	for range 3 {
		pub.publish1(1, "q/three", "12345")
	}
	pub.publish1(1, "q/one", "1")
	all := 3*entryBytes("q/three", "12345") + entryBytes("q/one", "1")
	want := map[string]float64{
		"promptmq_sessions": 3, "promptmq_sessions_connected": 1, "promptmq_expiries_pending": 2,
		"promptmq_queued_messages": 4, "promptmq_queue_messages_max": 3,
		"promptmq_queued_bytes": all, "promptmq_queue_bytes_max": 3 * entryBytes("q/three", "12345"),
		`promptmq_queue_messages_bucket{le="0"}`: 1, `promptmq_queue_messages_bucket{le="1"}`: 2, `promptmq_queue_messages_bucket{le="10"}`: 3,
		"promptmq_queue_messages_sum": 4, "promptmq_queue_messages_count": 3, "promptmq_queue_age_seconds_count": 2,
		"promptmq_sessions_queue_full": 0, `promptmq_memory_bytes{kind="queues"}`: all,
		`promptmq_deliveries_total{outcome="queued"}`: 4, `promptmq_deliveries_total{outcome="sent"}`: 0,
		`promptmq_message_bytes_received_total{qos="1"}`: 16,
	}
	s.wants(want)
	s.age(began)
	pub.publish1(1, "q/three", "12345")
	s.wants(map[string]float64{"promptmq_sessions_queue_full": 1, "promptmq_queue_messages_max": 4})

	// In flight: two of QoS 1 that are not acknowledged, one of QoS 2 that is not released.
	sub := v5Of(t, s, "sub", nil)
	sub.subscribeOne("live", 1)
	for range 2 {
		pub.publish1(1, "live", "ab")
		sub.receive()
	}
	pub.publish2(7, "nobody", "x", false)
	s.wants(map[string]float64{
		`promptmq_inflight_messages{direction="sent"}`: 2, `promptmq_inflight_messages{direction="received"}`: 1,
		`promptmq_message_bytes_published_total{qos="1"}`: 4, `promptmq_messages_published_total{qos="1"}`: 2,
	})
	s.stop()
	s.restart() // now all is on disk only, and the first cleanup sees how old it is
	s.wants(map[string]float64{"promptmq_queued_messages": 5, "promptmq_queue_messages_max": 4, "promptmq_queue_age_seconds_count": 2, `promptmq_memory_bytes{kind="queues"}`: 0})
	s.age(began)
}

// age checks how old the oldest queued message is said to be: it was published after began.
func (s *server) age(began time.Time) {
	s.t.Helper()
	age, most := s.metric("promptmq_queue_oldest_message_seconds"), time.Since(began).Seconds()
	if age <= 0 || age > most+1 { // on disk it is in whole seconds
		s.t.Errorf("the oldest message is %v s old; it was published less than %v s ago", age, most)
	}
}

// TestSubscriptionMetrics counts shared subscriptions, refused filters, copies, and takeovers.
func TestSubscriptionMetrics(t *testing.T) {
	t.Parallel()
	s := start(t, "mqtt: {wildcard-available: false}")
	sub := v5Of(t, s, "sub", nil)
	reasons := sub.subscribe(codec.Subscription{Filter: codec.View("a")}, codec.Subscription{Filter: codec.View("$share/g/a")}, codec.Subscription{Filter: codec.View("no/#")})
	pub := v5Of(t, s, "pub", nil)
	pub.publish(codec.Publish{Topic: codec.View("a"), Payload: codec.View("abc")})
	sub.receive()
	sub.receive()
	s.wants(map[string]float64{
		"promptmq_subscriptions": 2, "promptmq_shared_subscriptions": 1,
		fmt.Sprintf("promptmq_subscriptions_refused_total{reason=%q}", reasons[2]): 1,
		`promptmq_deliveries_total{outcome="sent"}`:                                2, `promptmq_message_bytes_received_total{qos="0"}`: 3, `promptmq_message_bytes_published_total{qos="0"}`: 6,
		"promptmq_session_takeovers_total": 0,
		"promptmq_packets_received_total":  4, // CONNECT twice, SUBSCRIBE, PUBLISH
		"promptmq_packets_sent_total":      5, // CONNACK twice, SUBACK, PUBLISH twice

	})
	if n := s.metric("promptmq_bytes_sent_total"); n < 6 || n > 200 {
		t.Errorf("%v bytes were sent", n)
	}
	v5Of(t, s, "sub", nil)
	s.wants(map[string]float64{"promptmq_session_takeovers_total": 1, "promptmq_subscriptions": 0, "promptmq_shared_subscriptions": 0})
}

// TestStoreMetrics compares what is told of the store with its files, and commits with themselves.
func TestStoreMetrics(t *testing.T) {
	t.Parallel()
	const limit = 4 << 20
	s := start(t, fmt.Sprintf("storage: {max-size: %d}", limit))
	started := s.metric("promptmq_start_time_seconds")
	if since := float64(time.Now().UnixMilli())/1000 - started; since < 0 || since > startSeconds {
		t.Errorf("started %v s ago", since)
	}
	absent(t, s, "sub", "q")
	pub := v5Of(t, s, "pub", nil)
	for range 500 {
		pub.publish1(1, "q", strings.Repeat("x", 1000))
	}
	s.wants(map[string]float64{"promptmq_store_commit_messages_sum": 500, "promptmq_store_size_limit_bytes": limit, "promptmq_ready": 1, "promptmq_store_elided_total": 0})
	eventually(t, "the sizes are those of the files", func() bool {
		size := func(name string) float64 {
			info, err := os.Stat(filepath.Join(s.dataDir(), name))
			if err != nil {
				t.Fatal(err)
			}
			return float64(info.Size())
		}
		got := s.scrape()
		db, wal := size("promptmq.db"), size("promptmq.db-wal")
		return got["promptmq_store_database_bytes"] == db && got["promptmq_store_wal_bytes"] == wal && wal > 0 && got["promptmq_storage_size_bytes"] == db+wal &&
			got["promptmq_store_commit_seconds_count"] == got["promptmq_store_commits_total"] && got["promptmq_store_commit_messages_count"] == got["promptmq_store_commits_total"] &&
			got["promptmq_store_disk_free_bytes"] > 0
	})
	for {
		if r := pub.publish1(1, "q", strings.Repeat("x", 100_000)); r == codec.QuotaExceeded {
			break
		} else if r != codec.Success {
			t.Fatal(r)
		}
	}
	s.wants(map[string]float64{`promptmq_store_refused_total{packet="PUBLISH"}`: 1, "promptmq_store_full": 1})

	// The end of the session removes its queue, in steps.
	v5Of(t, s, "sub", nil)
	eventually(t, "the queue is removed", func() bool {
		return s.metric("promptmq_store_removed_rows_max") > 0 && s.metric("promptmq_store_removals_pending") == 0
	})
	live := v5Of(t, s, "live", lasting)
	live.subscribeOne("live", 1)
	eventually(t, "what is acknowledged before its commit is not written", func() bool {
		pub.publish(codec.Publish{QoS: 1, PacketID: 1, Topic: codec.View("live")})
		live.sendAck(codec.TypePuback, live.receive().PacketID)
		pub.ack(codec.TypePuback)
		return s.metric("promptmq_store_elided_total") > 0
	})
}

// TestOpenEntries: what waits for the next commit is counted.
func TestOpenEntries(t *testing.T) {
	t.Parallel()
	s := startBinary(t, controlBinary(t), []string{"BREAK_RULES=commit-late"}, "")
	absent(t, s, "sub", "q")
	first, second := v5Of(t, s, "first", nil), v5Of(t, s, "second", nil)
	eventually(t, "one waits while the commit of another takes a second", func() (seen bool) {
		first.publish(codec.Publish{QoS: 1, PacketID: 1, Topic: codec.View("q")})
		for sent := s.metric("promptmq_store_open_entries"); sent > 0; sent = s.metric("promptmq_store_open_entries") {
			seen = seen || sent == 1
		}
		second.publish(codec.Publish{QoS: 1, PacketID: 1, Topic: codec.View("q")})
		for range 20 {
			seen = seen || s.metric("promptmq_store_open_entries") == 1
		}
		first.ack(codec.TypePuback)
		second.ack(codec.TypePuback)
		return seen
	})
	eventually(t, "none waits", func() bool { return s.metric("promptmq_store_open_entries") == 0 })
}

// TestReloadMetrics: what came of reloads, and when.
func TestReloadMetrics(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	const when = "promptmq_config_last_reload_success_timestamp_seconds"
	first := s.metric(when)
	s.wants(map[string]float64{`promptmq_config_reloads_total{result="ok"}`: 0, `promptmq_config_reloads_total{result="error"}`: 0, "promptmq_config_last_reload_successful": 1})
	s.write("no: such\n")
	s.hangup()
	s.wants(map[string]float64{`promptmq_config_reloads_total{result="ok"}`: 0, `promptmq_config_reloads_total{result="error"}`: 1, "promptmq_config_last_reload_successful": 0, when: first})
	s.write("")
	s.hangup()
	s.wants(map[string]float64{`promptmq_config_reloads_total{result="ok"}`: 1, `promptmq_config_reloads_total{result="error"}`: 1, "promptmq_config_last_reload_successful": 1})
	if second := s.metric(when); second <= first || second > float64(time.Now().UnixMilli())/1000 {
		t.Errorf("reloaded at %v, and before at %v", second, first)
	}
}

// TestDropsNotKept: of very many drops in a second the API keeps some, and the others are counted.
func TestDropsNotKept(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	for i := range 300 { // of each Client four are kept in a second, of all 1,000
		absent(t, s, fmt.Sprint("away", i), "q")
	}
	pub := v5Of(t, s, "pub", nil)
	var batch []byte
	for range 4 {
		batch, _ = codec.AppendPublish(batch, &codec.Publish{Topic: codec.View("q")}, codec.Version5)
	}
	eventually(t, "more are dropped than are kept", func() bool {
		pub.send(batch, nil)
		pub.quiet()
		got := s.scrape()
		kept := got[`promptmq_messages_dropped_total{reason="offline_qos0"}`] - got["promptmq_drops_not_kept_total"]
		return got["promptmq_drops_not_kept_total"] > 0 && kept > 0
	})
}
