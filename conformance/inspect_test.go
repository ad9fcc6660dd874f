package conformance

import (
	"strings"

	"github.com/x0a1b/promptmq/codec"
)

// inspect holds a packet from the broker against the rules that hold for every
// packet, whatever the test is about.
func (p *peer) inspect(got *packet, size int) {
	p.t.Helper()
	if p.ended != nil {
		p.t.Errorf("%v after DISCONNECT", got) // [MQTT-3.14.4-1]
	}
	if limit := p.connect.MaximumPacketSize; limit > 0 && uint32(size) > limit {
		p.t.Errorf("%v of %d bytes, the Maximum Packet Size is %d", got.typ, size, limit) // [MQTT-3.1.2-24]
	}
	if p.connect.ClientID != nil && !p.connect.RequestProblemInformation && (got.hasReason || got.hasUserProp) &&
		got.typ != codec.TypePublish && got.typ != codec.TypeConnack && got.typ != codec.TypeDisconnect {
		p.t.Errorf("%v has a Reason String or User Properties without having been asked for", got) // [MQTT-3.1.2-29]
	}
	switch got.typ {
	case codec.TypePublish:
		p.inspectPublish(got.message)
	case codec.TypeConnack:
		if p.greeted {
			p.t.Errorf("a second CONNACK") // [MQTT-3.2.0-2]
		}
		if got.connack.Reason != 0 && got.connack.SessionPresent {
			p.t.Errorf("%v with Session Present", got) // [MQTT-3.2.2-6]
		}
	case codec.TypeDisconnect:
		p.ended = got
		if got.disconnect.HasSessionExpiry {
			p.t.Errorf("DISCONNECT of the Server has a Session Expiry Interval") // [MQTT-3.14.2-2]
		}
		if !p.greeted {
			p.t.Errorf("DISCONNECT before CONNACK") // [MQTT-3.14.0-1]
		}
	case codec.TypeAuth:
		if !p.connect.HasAuthenticationMethod {
			p.t.Errorf("AUTH without an Authentication Method") // [MQTT-4.12.0-6]
		}
		if m := got.auth.AuthenticationMethod; string(m) != string(p.connect.AuthenticationMethod) {
			p.t.Errorf("AUTH with the Authentication Method %q, CONNECT has %q", m, p.connect.AuthenticationMethod) // [MQTT-4.12.0-5]
		}
		if !p.greeted && got.auth.Reason != codec.ContinueAuthentication {
			p.t.Errorf("AUTH with %v before CONNACK", got.auth.Reason) // [MQTT-4.12.0-2]
		}
	}
	if got.typ != codec.TypeConnack && got.typ != codec.TypeAuth && got.typ != codec.TypeDisconnect && !p.greeted && p.connect.ClientID != nil {
		p.t.Errorf("%v before CONNACK", got) // [MQTT-3.2.0-1]
	}
	if got.typ == codec.TypeConnack {
		p.greeted = true
	}
}

func (p *peer) inspectPublish(m *message) {
	p.t.Helper()
	if m.qos == 0 && m.dup {
		p.t.Errorf("%v: DUP at QoS 0", m) // [MQTT-3.3.1-2]
	}
	if strings.ContainsAny(m.topic, "+#") {
		p.t.Errorf("%v: a wildcard in a Topic Name", m) // [MQTT-3.3.2-2]
	}
	if m.alias > p.connect.TopicAliasMaximum {
		p.t.Errorf("%v: Topic Alias %d, the maximum is %d", m, m.alias, p.connect.TopicAliasMaximum) // [MQTT-3.1.2-26]
	}
	if m.topic == "" && m.alias != 0 {
		if m.topic = p.aliases[m.alias]; m.topic == "" {
			p.t.Errorf("Topic Alias %d was never set on this connection", m.alias) // [MQTT-3.3.2-7]
		}
	} else if m.alias != 0 {
		if p.aliases == nil {
			p.aliases = map[uint16]string{}
		}
		p.aliases[m.alias] = m.topic
	}
	if !p.resumed && !p.subscribedTo(m.topic) {
		p.t.Errorf("%v: no filter of this session matches", m) // [MQTT-3.3.2-3]
	}
	if m.qos > 0 {
		if m.id == 0 || p.inflight[m.id] {
			p.t.Errorf("%v: the Packet Identifier is in use, or 0", m) // [MQTT-2.2.1-4]
		}
		p.inflight[m.id] = true
		if uint16(len(p.inflight)) > p.connect.ReceiveMaximum && p.version == codec.Version5 {
			p.t.Errorf("%v: %d unacknowledged, Receive Maximum is %d", m, len(p.inflight), p.connect.ReceiveMaximum) // [MQTT-3.3.4-9]
		}
	}
}

func (p *peer) subscribedTo(name string) bool {
	for f := range p.filters {
		if rest, ok := strings.CutPrefix(f, "$share/"); ok {
			_, f, _ = strings.Cut(rest, "/")
		}
		if filterMatches(f, name) {
			return true
		}
	}
	return false
}

// filterMatches is section 4.7, level by level.
func filterMatches(filter, name string) bool {
	if strings.HasPrefix(name, "$") && (strings.HasPrefix(filter, "+") || strings.HasPrefix(filter, "#")) {
		return false // [MQTT-4.7.2-1]
	}
	f, n := strings.Split(filter, "/"), strings.Split(name, "/")
	for i, level := range f {
		if level == "#" {
			return true
		}
		if i >= len(n) || level != "+" && level != n[i] {
			return false
		}
	}
	return len(f) == len(n)
}
