package metrics

import "fmt"

// ListenerRefused counts those that a listener closed because there were too many. It looks
// the counter up.
func (b *Broker) ListenerRefused(listener string) *Counter {
	return b.counter("promptmq_listener_refused_total", "listener", listener)
}

// HandshakeFailures counts TLS handshakes that failed. It looks the counter up.
func (b *Broker) HandshakeFailures(reason string) *Counter {
	return b.counter("promptmq_tls_handshake_failures_total", "reason", reason)
}

// TLSErrors counts connections that an error of TLS ended after the handshake. It looks the
// counter up.
func (b *Broker) TLSErrors(reason string) *Counter {
	return b.counter("promptmq_tls_errors_total", "reason", reason)
}

// CertificateLoads counts how often the changed files of a listener's TLS were taken over, or
// not: result is "ok" or "error". It looks the counter up.
func (b *Broker) CertificateLoads(listener, result string) *Counter {
	return b.set.GetOrCreateCounter(fmt.Sprintf("promptmq_tls_cert_loads_total{listener=%q,result=%q}", listener, result))
}
