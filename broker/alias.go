package broker

import (
	"fmt"

	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/codec"
)

// aliasNames are the Topic Aliases a Client has set on one connection. They
// start empty on each. [MQTT-3.3.2-7]
type aliasNames struct{ names []string }

// leakedAliases outlive their connection, in a build that breaks that rule.
var leakedAliases aliasNames

// resolve completes p.Topic from its Topic Alias, which it has, or notes the alias.
// [MQTT-3.3.2-12]
func (a *aliasNames) resolve(p *codec.Publish, maximum uint16) error {
	if p.TopicAlias > maximum { // [MQTT-3.3.2-9]
		return refuse(codec.TopicAliasInvalid, fmt.Sprintf("the Topic Alias %d exceeds the Topic Alias Maximum of %d", p.TopicAlias, maximum),
			"key", "mqtt.topic-alias-maximum")
	}
	if control.Broken(control.AliasNotReset) {
		a = &leakedAliases
	}
	if a.names == nil {
		a.names = make([]string, maximum)
	}
	name := &a.names[p.TopicAlias-1]
	if len(p.Topic) > 0 {
		if *name != string(p.Topic) {
			*name = string(p.Topic)
		}
		return nil
	}
	if *name == "" {
		return refuse(codec.ProtocolError, fmt.Sprintf("the Topic Alias %d is not set on this connection", p.TopicAlias))
	}
	p.Topic = codec.View(*name)
	return nil
}

// aliasNumbers are the Topic Aliases the Server sets on one connection: the first
// topics it sends get one and keep it.
type aliasNumbers struct {
	numbers map[string]uint16
	// ahead are those set by a held packet alone: what goes ahead of it must set
	// them too.
	ahead map[uint16]struct{}
}

// find returns the alias for a Topic Name, 0 if it gets none, and whether the
// packet is to set it: one that is held, or one that is not.
func (a *aliasNumbers) find(name codec.View, maximum uint16, held bool) (number uint16, sets bool) {
	if a == nil {
		return 1, true
	}
	number, known := a.numbers[string(name)]
	if !known {
		if len(a.numbers) >= int(maximum) {
			return 0, false
		}
		return uint16(len(a.numbers)) + 1, true
	}
	if held || control.Broken(control.AliasAhead) {
		return number, false
	}
	_, sets = a.ahead[number]
	return number, sets
}

// set notes that a packet sets an alias; seg is nil if it is not held.
func (a *aliasNumbers) set(name codec.View, number uint16, seg *segment) {
	if _, known := a.numbers[string(name)]; !known {
		a.numbers[string(name)] = number
	}
	if seg == nil {
		delete(a.ahead, number)
		return
	}
	if a.ahead == nil {
		a.ahead = make(map[uint16]struct{})
	}
	seg.alias = number
	a.ahead[number] = struct{}{}
}

// released notes that the held packet which set an alias is written next.
func (a *aliasNumbers) released(number uint16) { delete(a.ahead, number) }

// appendAliased encodes p, with a Topic Alias as far as the Client's Topic
// Alias Maximum goes. [MQTT-3.1.2-26] [MQTT-3.1.2-27] [MQTT-3.3.2-11] It must
// encode to packets that are written in the order of its calls; held ones, which
// have a segment, among themselves, and after what was encoded before them.
func (c *conn) appendAliased(dst []byte, p *codec.Publish, seg *segment) []byte {
	if c.params.aliasMaximum == 0 {
		return appendPublish(dst, p, c.version)
	}
	topic := p.Topic
	number, sets := c.sentAliases.find(topic, c.params.aliasMaximum, seg != nil)
	if p.TopicAlias = number; number != 0 && !sets {
		p.Topic = nil
	}
	if limit := c.params.packetBytesMax; limit > 0 && codec.PublishSize(p, c.version) > int(limit) {
		p.TopicAlias, p.Topic, sets = 0, topic, false
	}
	if sets {
		if c.sentAliases == nil {
			c.sentAliases = &aliasNumbers{numbers: make(map[string]uint16)}
		}
		c.sentAliases.set(topic, number, seg)
	}
	dst = appendPublish(dst, p, c.version)
	p.TopicAlias, p.Topic = 0, topic
	return dst
}
