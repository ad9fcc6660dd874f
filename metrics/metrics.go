// Package metrics counts what a broker does and shows it over HTTP in the
// Prometheus text format.
//
// A Broker holds its counters as plain fields, so that counting costs one
// atomic addition and no look-up. Every family is listed with its help text
// in families.go; a test fails for a metric that is missing there.
package metrics

import (
	"fmt"
	"runtime"
	"strings"
	"sync"

	vm "github.com/VictoriaMetrics/metrics"
)

// Counter is a number that Inc, Dec and Add change atomically.
type Counter = vm.Counter

// Broker is the set of metrics of one broker. Its fields are never nil and may
// be used by any goroutine.
type Broker struct {
	ConnectionsTotal   *Counter
	ConnectionsCurrent *Counter // a gauge: Inc and Dec
	Takeovers          *Counter
	// TakeoversCutShort counts those in which not all was handled that had come on the
	// connection before.
	TakeoversCutShort *Counter
	KeepAliveTimeouts *Counter
	WriteTimeouts     *Counter
	DropsNotKept      *Counter
	ScrapesClosed     *Counter
	Panics            *Counter
	LogLinesDropped   *Counter

	Bans             *Counter   // of addresses from which too many logins failed
	LoginsRemembered *Counter   // whose password was not compared, since it was right lately
	LoginHashSeconds *Histogram // that comparing a password took

	// OverloadClosed counts connections closed because memory was short, Paused the times
	// that a publisher was not read for a while, by cause.
	OverloadClosed *Counter
	Paused         [NumPauses]*Counter

	// PUBLISH packets and their payload bytes, by QoS; received from Clients
	// and sent to Clients.
	MessagesReceived     [3]*Counter
	MessageBytesReceived [3]*Counter
	MessagesSent         [3]*Counter
	MessageBytesSent     [3]*Counter
	// Retained counts the PUBLISH packets that stored a retained message.
	Retained *Counter
	// Dropped counts messages that did not reach a subscriber.
	Dropped [NumDropReasons]*Counter
	// Copies of messages by what became of each when it was routed to a subscriber. One
	// that was passed on was routed and counted again; the sum of the others is their number.
	DeliveriesSent     *Counter // at once, and not kept
	DeliveriesQueued   *Counter // kept until they are acknowledged
	DeliveriesDropped  *Counter // before they were queued; Dropped counts later drops too
	DeliveriesPassedOn *Counter

	// Packets of any type, and those that were queued for Clients.
	PacketsReceived *Counter
	PacketsSent     *Counter

	// Bytes on the sockets, and the system calls that moved them.
	BytesReceived *Counter
	BytesSent     *Counter
	SocketReads   *Counter
	SocketWrites  *Counter

	Commits           *Counter
	CommitFailures    *Counter
	CommitElided      *Counter // queue entries acknowledged before their commit
	CommitSeconds     *Histogram
	CommitMessages    *Histogram
	StorageOperations *Counter
	CleanupRuns       *Counter

	// ProcessingSeconds is sampled: from the read of a PUBLISH to the end of
	// its fan-out.
	ProcessingSeconds *Histogram

	set *vm.Set

	mu          sync.Mutex // guards the following
	onScrape    []func()
	distributed []distributed

	looking  sync.RWMutex           // guards the following; a leaf
	lookedUp map[[2]string]*Counter // by name and the value of its label
}

// NewBroker returns metrics that all stand at zero and share nothing with
// those of another Broker.
func NewBroker() *Broker {
	set := vm.NewSet()
	b := &Broker{
		ConnectionsTotal:   set.NewCounter("promptmq_connections_total"),
		ConnectionsCurrent: new(Counter),
		Takeovers:          set.NewCounter("promptmq_session_takeovers_total"),
		TakeoversCutShort:  set.NewCounter("promptmq_session_takeovers_cut_short_total"),
		KeepAliveTimeouts:  set.NewCounter("promptmq_keep_alive_timeouts_total"),
		OverloadClosed:     set.NewCounter("promptmq_overload_connections_closed_total"),
		ScrapesClosed:      set.NewCounter("promptmq_metrics_connections_closed_total"),
		WriteTimeouts:      set.NewCounter("promptmq_write_timeouts_total"),
		DropsNotKept:       set.NewCounter("promptmq_drops_not_kept_total"),
		Panics:             set.NewCounter("promptmq_panics_total"),
		LogLinesDropped:    set.NewCounter("promptmq_log_lines_dropped_total"),
		Bans:               set.NewCounter("promptmq_bans_total"),
		LoginsRemembered:   set.NewCounter("promptmq_logins_remembered_total"),
		LoginHashSeconds:   newHistogram(set, "promptmq_login_hash_seconds", loginHashSecondsBounds),

		MessagesReceived:     byQoS(set, "promptmq_messages_received_total"),
		MessageBytesReceived: byQoS(set, "promptmq_message_bytes_received_total"),
		MessagesSent:         byQoS(set, "promptmq_messages_published_total"),
		MessageBytesSent:     byQoS(set, "promptmq_message_bytes_published_total"),
		Retained:             set.NewCounter("promptmq_messages_retained_total"),

		DeliveriesSent:     set.NewCounter(labelled("promptmq_deliveries_total", "outcome", "sent")),
		DeliveriesQueued:   set.NewCounter(labelled("promptmq_deliveries_total", "outcome", "queued")),
		DeliveriesDropped:  set.NewCounter(labelled("promptmq_deliveries_total", "outcome", "dropped")),
		DeliveriesPassedOn: set.NewCounter(labelled("promptmq_deliveries_total", "outcome", "passed_on")),

		PacketsReceived: set.NewCounter("promptmq_packets_received_total"),
		PacketsSent:     set.NewCounter("promptmq_packets_sent_total"),

		BytesReceived: set.NewCounter("promptmq_bytes_received_total"),
		BytesSent:     set.NewCounter("promptmq_bytes_sent_total"),
		SocketReads:   set.NewCounter("promptmq_socket_reads_total"),
		SocketWrites:  set.NewCounter("promptmq_socket_writes_total"),

		Commits:           set.NewCounter("promptmq_store_commits_total"),
		CommitFailures:    set.NewCounter("promptmq_store_commit_failures_total"),
		CommitElided:      set.NewCounter("promptmq_store_elided_total"),
		CommitSeconds:     newHistogram(set, "promptmq_store_commit_seconds", commitSecondsBounds),
		CommitMessages:    newHistogram(set, "promptmq_store_commit_messages", commitMessagesBounds),
		CleanupRuns:       set.NewCounter("promptmq_cleanup_runs_total"),
		StorageOperations: set.NewCounter("promptmq_storage_operations_total"),
		ProcessingSeconds: newHistogram(set, "promptmq_message_processing_duration", processingSecondsBounds),

		set: set,
	}
	for r := range NumDropReasons {
		b.Dropped[r] = set.NewCounter(labelled("promptmq_messages_dropped_total", "reason", r.String()))
	}
	for p := range NumPauses {
		b.Paused[p] = set.NewCounter(labelled("promptmq_publishers_paused_total", "cause", p.String()))
	}
	b.Gauge("promptmq_connections_current", func() float64 { return float64(b.ConnectionsCurrent.Get()) })
	b.Gauge("promptmq_system_memory_usage", residentBytes)
	b.Gauge("promptmq_system_goroutines", func() float64 { return float64(runtime.NumGoroutine()) })
	return b
}

// Upper bounds of the histograms' buckets. A commit is an fsync, from tens of
// microseconds on a disk with a protected cache to seconds on one in trouble;
// a group has from one message to tens of thousands.
var (
	commitSecondsBounds = []float64{
		0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10,
	}
	loginHashSecondsBounds  = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5}
	commitMessagesBounds    = []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 50000}
	processingSecondsBounds = []float64{
		0.000001, 0.0000025, 0.000005, 0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.001, 0.01, 0.1, 1,
	}
)

// Refused counts Network Connections that got no CONNACK of success. It looks
// the counter up: keep it away from the PUBLISH path.
func (b *Broker) Refused(reason string) *Counter {
	return b.counter("promptmq_connections_refused_total", "reason", reason)
}

// LoginsAccepted counts Clients by how they proved who they are. It looks the counter up.
func (b *Broker) LoginsAccepted(method string) *Counter {
	return b.counter("promptmq_logins_accepted_total", "method", method)
}

// LoginsRefused counts Clients that were not let in because of who they are, or because too
// many wait to be asked. It looks the counter up.
func (b *Broker) LoginsRefused(cause string) *Counter {
	return b.counter("promptmq_logins_refused_total", "cause", cause)
}

// RefusedMessages counts PUBLISH packets answered with a Reason Code of 0x80
// or greater. It looks the counter up.
func (b *Broker) RefusedMessages(reason string) *Counter {
	return b.counter("promptmq_messages_refused_total", "reason", reason)
}

// RefusedSubscriptions counts Topic Filters answered in SUBACK with a Reason Code
// of 0x80 or greater. It looks the counter up.
func (b *Broker) RefusedSubscriptions(reason string) *Counter {
	return b.counter("promptmq_subscriptions_refused_total", "reason", reason)
}

// StoreRefused counts packets refused because the store had no room. It looks
// the counter up.
func (b *Broker) StoreRefused(packet string) *Counter {
	return b.counter("promptmq_store_refused_total", "packet", packet)
}

// ProtocolErrors counts connections closed because of what the Client sent. It
// looks the counter up.
func (b *Broker) ProtocolErrors(reason string) *Counter {
	return b.counter("promptmq_protocol_errors_total", "reason", reason)
}

// IdentitiesEnded counts connections closed because who their Client is has ended, or was
// revoked. It looks the counter up.
func (b *Broker) IdentitiesEnded(reason string) *Counter {
	return b.counter("promptmq_identities_ended_total", "reason", reason)
}

// CallbackLogins counts logins that auth.http.url was to be asked about, by outcome. It looks
// the counter up.
func (b *Broker) CallbackLogins(outcome string) *Counter {
	return b.counter("promptmq_callback_logins_total", "outcome", outcome)
}

// KeySetFetches counts fetches of the keys of tokens, by outcome: ok or failed. It looks the
// counter up.
func (b *Broker) KeySetFetches(outcome string) *Counter {
	return b.counter("promptmq_key_set_fetches_total", "outcome", outcome)
}

// ConfigReloads counts reloads of the configuration by result: ok or error. It looks the counter
// up.
func (b *Broker) ConfigReloads(result string) *Counter {
	return b.counter("promptmq_config_reloads_total", "result", result)
}

// NoticesLeftOut counts log lines that were left out because there were too many
// for the same cause. It looks the counter up.
func (b *Broker) NoticesLeftOut(cause string) *Counter {
	return b.counter("promptmq_log_lines_left_out_total", "cause", cause)
}

// Gauge registers a metric whose value is asked for at each scrape. The name
// is one of families.go and not yet registered.
func (b *Broker) Gauge(name string, f func() float64) {
	b.set.NewGauge(name, f)
}

// BuildInfo registers promptmq_build_info: always 1, with the version as label.
func (b *Broker) BuildInfo(version string) {
	b.Gauge(fmt.Sprintf("promptmq_build_info{version=%q,goversion=%q}", version, runtime.Version()),
		func() float64 { return 1 })
}

func byQoS(set *vm.Set, name string) (c [3]*Counter) {
	for qos := range c {
		c[qos] = set.NewCounter(fmt.Sprintf(`%s{qos="%d"}`, name, qos))
	}
	return c
}

// counter looks a counter with one label up. It puts the whole name together once only: a storm of
// connections has several looked up for each.
func (b *Broker) counter(name, label, value string) *Counter {
	b.looking.RLock()
	c := b.lookedUp[[...]string{name, value}]
	b.looking.RUnlock()
	if c != nil {
		return c
	}
	c = b.set.GetOrCreateCounter(labelled(name, label, value))
	b.looking.Lock()
	defer b.looking.Unlock()
	if b.lookedUp == nil {
		b.lookedUp = make(map[[2]string]*Counter)
	}
	b.lookedUp[[...]string{name, strings.Clone(value)}] = c
	return c
}

func labelled(name, label, value string) string {
	return fmt.Sprintf("%s{%s=%q}", name, label, value)
}
