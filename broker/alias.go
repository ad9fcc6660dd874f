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
