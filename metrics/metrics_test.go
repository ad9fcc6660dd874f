package metrics

import (
	"bytes"
	"strings"
	"testing"
)

func exposed(t *testing.T, b *Broker) string {
	t.Helper()
	var text bytes.Buffer
	b.WritePrometheus(&text)
	return text.String()
}

func wantLines(t *testing.T, text string, lines ...string) {
	t.Helper()
	have := make(map[string]bool)
	for line := range strings.Lines(text) {
		have[strings.TrimSpace(line)] = true
	}
	for _, line := range lines {
		if !have[line] {
			t.Errorf("missing line %q", line)
		}
	}
}

func TestExposition(t *testing.T) {
	b := NewBroker()
	b.ConnectionsTotal.Add(3)
	b.ConnectionsCurrent.Add(3)
	b.ConnectionsCurrent.Dec()
	b.MessagesReceived[1].Inc()
	b.MessageBytesSent[2].Add(17)
	b.Dropped[DropExpired].Inc()
	b.Refused("max_connections").Inc()
	b.Refused("max_connections").Inc()
	b.RefusedMessages("quota").Inc()
	b.ProtocolErrors("malformed").Inc()
	b.CommitSeconds.Update(0.0004)
	b.CommitMessages.Update(7)
	b.Gauge("promptmq_sessions", func() float64 { return 5 })
	b.BuildInfo("v1.2.3")

	text := exposed(t, b)
	wantLines(t, text,
		"promptmq_connections_total 3",
		"# TYPE promptmq_connections_total counter",
		"# HELP promptmq_connections_total Network connections that clients have opened.",
		"promptmq_connections_current 2",
		"# TYPE promptmq_connections_current gauge",
		`promptmq_messages_received_total{qos="0"} 0`,
		`promptmq_messages_received_total{qos="1"} 1`,
		`promptmq_message_bytes_published_total{qos="2"} 17`,
		`promptmq_messages_dropped_total{reason="expired"} 1`,
		`promptmq_messages_dropped_total{reason="slow_consumer"} 0`,
		`promptmq_connections_refused_total{reason="max_connections"} 2`,
		`promptmq_messages_refused_total{reason="quota"} 1`,
		`promptmq_protocol_errors_total{reason="malformed"} 1`,
		"# TYPE promptmq_store_commit_seconds histogram",
		`promptmq_store_commit_seconds_bucket{le="0.0005"} 1`,
		`promptmq_store_commit_messages_bucket{le="5"} 0`,
		`promptmq_store_commit_messages_bucket{le="10"} 1`,
		"promptmq_message_processing_duration_count 0",
		"promptmq_panics_total 0",
		"promptmq_sessions 5",
		"# TYPE promptmq_sessions gauge",
	)
	for _, part := range []string{`promptmq_build_info{version="v1.2.3",goversion="go`, "\ngo_goroutines ", "\nprocess_"} {
		if !strings.Contains(text, part) {
			t.Errorf("missing %q", part)
		}
	}
}

// Each family is announced once with help and type, and has a line in the
// table; the table has no line that nothing uses.
func TestEveryFamilyHasHelp(t *testing.T) {
	b := NewBroker()
	b.Refused("r").Inc()
	b.RefusedMessages("r").Inc()
	b.ProtocolErrors("r").Inc()
	b.IdentitiesEnded("r").Inc()
	b.RefusedSubscriptions("r").Inc()
	b.StoreRefused("PUBLISH").Inc()
	b.NoticesLeftOut("c").Inc()
	b.CallbackLogins("allow").Inc()
	b.KeySetFetches("ok").Inc()
	b.LoginsAccepted("m").Inc()
	b.LoginsRefused("c").Inc()
	b.ListenerRefused("l").Inc()
	b.HandshakeFailures("r").Inc()
	b.TLSErrors("r").Inc()
	b.CertificateLoads("l", "ok").Inc()
	b.BuildInfo("v")
	b.ConfigReloads("ok").Inc()
	b.Listener("l").Disconnected(ByLoss)
	for _, name := range []string{"promptmq_queue_messages", "promptmq_queue_age_seconds"} {
		b.Distribution(name, func() *Distribution { return NewDistribution([]float64{1}) })
	}
	used := make(map[string]bool)
	for _, name := range []string{
		"promptmq_callback_breaker_open",
		"promptmq_login_hashes_waiting", "promptmq_addresses_banned", "promptmq_sessions", "promptmq_sessions_connected", "promptmq_connections_lingering", "promptmq_subscriptions", "promptmq_retained_messages",
		"promptmq_memory_bytes", "promptmq_memory_limit_bytes", "promptmq_overload_state",
		"promptmq_ready", "promptmq_start_time_seconds", "promptmq_config_last_reload_successful", "promptmq_config_last_reload_success_timestamp_seconds",
		`promptmq_inflight_messages{direction="sent"}`, "promptmq_queued_bytes", "promptmq_queue_messages_max", "promptmq_queue_bytes_max",
		"promptmq_queue_oldest_message_seconds", "promptmq_shared_subscriptions",
		"promptmq_store_database_bytes", "promptmq_store_wal_bytes", "promptmq_store_size_limit_bytes", "promptmq_store_disk_free_bytes",
		"promptmq_retained_bytes", "promptmq_queued_messages", "promptmq_sessions_queue_full", "promptmq_expiries_pending", "promptmq_store_open_entries", "promptmq_store_removals_pending", "promptmq_store_removed_rows_max", "promptmq_storage_size_bytes", "promptmq_store_full", "promptmq_store_commit_waiting_seconds",
		`promptmq_listener_connections{listener="l"}`, `promptmq_tls_cert_expiry_seconds{listener="l"}`,
	} {
		b.Gauge(name, func() float64 { return 1 })
	}
	for line := range strings.Lines(exposed(t, b)) {
		rest, ok := strings.CutPrefix(line, "# HELP ")
		if !ok || !strings.HasPrefix(rest, "promptmq_") {
			continue
		}
		family, text, _ := strings.Cut(strings.TrimSpace(rest), " ")
		if text == "" {
			t.Errorf("%s has no help text in families.go", family)
		}
		if used[family] {
			t.Errorf("%s is announced twice", family)
		}
		used[family] = true
	}
	for family := range help {
		if !used[family] {
			t.Errorf("families.go lists %s, which nothing exposes", family)
		}
	}
}

func TestBrokersShareNothing(t *testing.T) {
	first, second := NewBroker(), NewBroker()
	first.ConnectionsTotal.Inc()
	first.Refused("x").Inc()
	if n := second.ConnectionsTotal.Get() + second.Refused("x").Get(); n != 0 {
		t.Errorf("the second broker counts %d", n)
	}
}

func TestDropReasonsHaveNames(t *testing.T) {
	seen := make(map[string]bool)
	for r := range NumDropReasons {
		if name := r.String(); name == "unknown" || seen[name] {
			t.Errorf("reason %d is called %q", r, name)
		} else {
			seen[name] = true
		}
	}
	if NumDropReasons.String() != "unknown" {
		t.Error("NumDropReasons has a name")
	}
}

func TestMemoryUsageIsPlausible(t *testing.T) {
	if n := residentBytes(); n < 1<<20 || n > 1<<40 {
		t.Errorf("resident bytes = %g", n)
	}
}

// count is what the broker counts of one PUBLISH with QoS 1 to one subscriber that comes and goes
// alone, so that nothing is counted for several at a time: the worst case.
func count(b *Broker, n *int) {
	b.SocketReads.Inc()
	b.BytesReceived.Add(120)
	b.MessagesReceived[1].Inc()
	b.MessageBytesReceived[1].Add(100)
	b.DeliveriesQueued.Add(1)
	if *n++; *n%64 == 0 {
		b.ProcessingSeconds.Update(0.00001)
	}
	b.MessagesSent[1].Inc()
	b.MessageBytesSent[1].Add(100)
	b.SocketWrites.Inc()
	b.BytesSent.Add(120)
}

func TestUpdatesDoNotAllocate(t *testing.T) {
	b := NewBroker()
	published := 0
	if n := testing.AllocsPerRun(1000, func() {
		count(b, &published)
		b.Dropped[DropSlowConsumer].Inc()
		b.ProcessingSeconds.Update(0.00001)
		b.CommitSeconds.Update(0.002)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCounter(b *testing.B) {
	m := NewBroker()
	b.ReportAllocs()
	for b.Loop() {
		m.MessagesReceived[1].Inc()
	}
}

func BenchmarkHistogram(b *testing.B) {
	m := NewBroker()
	b.ReportAllocs()
	for b.Loop() {
		m.ProcessingSeconds.Update(0.00001)
	}
}

// BenchmarkPublish is what counting costs for each PUBLISH, BenchmarkPublishParallel the same where all
// processors count at once.
func BenchmarkPublish(b *testing.B) {
	m, n := NewBroker(), 0
	b.ReportAllocs()
	for b.Loop() {
		count(m, &n)
	}
}

func BenchmarkPublishParallel(b *testing.B) {
	m := NewBroker()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for n := 0; pb.Next(); {
			count(m, &n)
		}
	})
}
