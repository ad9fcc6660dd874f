package broker

import (
	"github.com/x0a1b/promptmq/codec"
)

// aliasNames are the Topic Aliases a Client has set on one connection. They
// start empty on each. [MQTT-3.3.2-7]
type aliasNames struct{ names []string }

// resolve completes p.Topic from its Topic Alias, which it has, or notes the alias.
// [MQTT-3.3.2-12]
func (a *aliasNames) resolve(p *codec.Publish, maximum uint16) error {
	if p.TopicAlias > maximum { // [MQTT-3.3.2-9]
		return refuse(codec.TopicAliasInvalid, "the Topic Alias exceeds the Topic Alias Maximum")
	}
	a = breakAliases(a)
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
		return refuse(codec.ProtocolError, "the Topic Alias is not set")
	}
	p.Topic = codec.View(*name)
	return nil
}

// aliasNumbers are the Topic Aliases the Server has set on one connection: the
// first topics it sends get one and keep it.
type aliasNumbers struct{ numbers map[string]uint16 }

// appendAliased encodes p, with a Topic Alias as far as the Client's Topic
// Alias Maximum goes. [MQTT-3.1.2-26] [MQTT-3.1.2-27] [MQTT-3.3.2-11] It must
// encode to packets that are written in the order of its calls.
func (c *conn) appendAliased(dst []byte, p *codec.Publish) []byte {
	if c.params.aliasMaximum == 0 {
		return appendPublish(dst, p, c.version)
	}
	topic := p.Topic
	number, known := c.sentAliases.numbers[string(topic)]
	switch {
	case known:
		p.TopicAlias, p.Topic = number, nil
	case len(c.sentAliases.numbers) < int(c.params.aliasMaximum):
		number = uint16(len(c.sentAliases.numbers)) + 1
		p.TopicAlias = number
		if limit := c.params.packetBytesMax; limit > 0 && codec.PublishSize(p, c.version) > int(limit) {
			p.TopicAlias = 0
			break
		}
		if c.sentAliases.numbers == nil {
			c.sentAliases.numbers = make(map[string]uint16)
		}
		c.sentAliases.numbers[string(topic)] = number
	}
	dst = appendPublish(dst, p, c.version)
	p.TopicAlias, p.Topic = 0, topic
	return dst
}
