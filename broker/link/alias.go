package link

import (
	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/codec"
)

// aliasNumbers are the Topic Aliases that the Server sets on one connection: the first
// topics get one each and keep it.
type aliasNumbers struct {
	numbers map[string]uint16
	// ahead are those that only a held packet sets: what goes ahead of it must set them
	// too.
	ahead map[uint16]struct{}
}

// find returns the alias for a Topic Name, 0 if it gets none, and whether the packet, which
// is held or not, is to set it.
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

// set notes that a packet sets an alias.
func (a *aliasNumbers) set(name codec.View, number uint16, held bool) {
	if _, known := a.numbers[string(name)]; !known {
		a.numbers[string(name)] = number
	}
	if !held {
		delete(a.ahead, number)
		return
	}
	if a.ahead == nil {
		a.ahead = make(map[uint16]struct{})
	}
	a.ahead[number] = struct{}{}
}

// released notes that the held packet that sets an alias goes to out.
func (a *aliasNumbers) released(number uint16) { delete(a.ahead, number) }

// aliasLocked gives m its Topic Alias, as far as the Client's Topic Alias Maximum goes,
// and returns it if m sets it; 0: it does not. held says that m is one of the packets
// that are held. [MQTT-3.1.2-26] [MQTT-3.1.2-27] [MQTT-3.3.2-11]
func (o *Outbox) aliasLocked(m *codec.Publish, held bool) (alias uint16) {
	topic := m.Topic
	number, sets := o.account.aliases.find(topic, o.aliasMaximum, held)
	if m.TopicAlias = number; number != 0 && !sets {
		m.Topic = nil
	}
	if limit := o.packetBytesMax; limit > 0 && uint64(codec.PublishSize(m, o.version)) > uint64(limit) {
		m.TopicAlias, m.Topic, sets = 0, topic, false
	}
	if !sets {
		return 0
	}
	if o.account.aliases == nil {
		o.account.aliases = &aliasNumbers{numbers: make(map[string]uint16)}
	}
	o.account.aliases.set(topic, number, held)
	return number
}
