package codec

import "fmt"

// A packet decodes and appends any type, with one method for each use in tests.
type packet struct {
	typ     PacketType
	version Version

	connect     Connect
	connack     Connack
	publish     Publish
	ack         Ack
	subscribe   Subscribe
	subs        []Subscription
	suback      Suback
	unsubscribe Unsubscribe
	filters     []View
	unsuback    Unsuback
	disconnect  Disconnect
	auth        Auth
}

func (p *packet) decode(f Frame, v Version) error {
	p.typ, p.version = f.Type(), v
	switch p.typ {
	case TypeConnect:
		err := p.connect.Decode(f)
		p.version = p.connect.Version
		return err
	case TypeConnack:
		return p.connack.Decode(f, v)
	case TypePublish:
		return p.publish.Decode(f, v)
	case TypePuback, TypePubrec, TypePubrel, TypePubcomp:
		return p.ack.Decode(f, v)
	case TypeSubscribe:
		err := p.subscribe.Decode(f, v)
		p.subs = p.subs[:0]
		if err == nil {
			p.subscribe.Each(func(s Subscription) bool { p.subs = append(p.subs, s); return true })
		}
		return err
	case TypeSuback:
		return p.suback.Decode(f, v)
	case TypeUnsubscribe:
		err := p.unsubscribe.Decode(f, v)
		p.filters = p.filters[:0]
		if err == nil {
			p.unsubscribe.Each(func(filter View) bool { p.filters = append(p.filters, filter); return true })
		}
		return err
	case TypeUnsuback:
		return p.unsuback.Decode(f, v)
	case TypePingreq, TypePingresp:
		return DecodePing(f)
	case TypeDisconnect:
		return p.disconnect.Decode(f, v)
	case TypeAuth:
		return p.auth.Decode(f, v)
	}
	return errPacketType
}

func (p *packet) append(dst []byte) ([]byte, error) {
	switch p.typ {
	case TypeConnect:
		return AppendConnect(dst, &p.connect, p.version)
	case TypeConnack:
		return AppendConnack(dst, &p.connack, p.version)
	case TypePublish:
		return AppendPublish(dst, &p.publish, p.version)
	case TypePuback, TypePubrec, TypePubrel, TypePubcomp:
		return AppendAck(dst, &p.ack, p.version)
	case TypeSubscribe:
		return AppendSubscribe(dst, &p.subscribe, p.subs, p.version)
	case TypeSuback:
		return AppendSuback(dst, &p.suback, p.version)
	case TypeUnsubscribe:
		return AppendUnsubscribe(dst, &p.unsubscribe, p.filters, p.version)
	case TypeUnsuback:
		return AppendUnsuback(dst, &p.unsuback, p.version)
	case TypePingreq:
		return AppendPingreq(dst), nil
	case TypePingresp:
		return AppendPingresp(dst), nil
	case TypeDisconnect:
		return AppendDisconnect(dst, &p.disconnect, p.version)
	case TypeAuth:
		return AppendAuth(dst, &p.auth, p.version)
	}
	return dst, errEncodeField
}

// meaning is everything the packet says, apart from how it was encoded.
func (p *packet) meaning() string {
	user := func(u UserProperties) string { return fmt.Sprintf("%x", u.AppendTo(nil)) }
	switch p.typ {
	case TypeConnect:
		c := p.connect
		c.UserProperties, c.Will.Forward = UserProperties{}, Forward{}
		return fmt.Sprintf("%+v %s %x", c, user(p.connect.UserProperties), p.connect.Will.Forward.AppendTo(nil))
	case TypeConnack:
		c := p.connack
		c.UserProperties = UserProperties{}
		return fmt.Sprintf("%+v %s", c, user(p.connack.UserProperties))
	case TypePublish:
		c := p.publish
		c.Forward = Forward{}
		return fmt.Sprintf("%+v %x", c, p.publish.Forward.AppendTo(nil))
	case TypePuback, TypePubrec, TypePubrel, TypePubcomp:
		c := p.ack
		c.UserProperties = UserProperties{}
		return fmt.Sprintf("%+v %s", c, user(p.ack.UserProperties))
	case TypeSubscribe:
		return fmt.Sprintf("%d %d %d %+v %s", p.subscribe.PacketID, p.subscribe.SubscriptionID, p.subscribe.Count, p.subs,
			user(p.subscribe.UserProperties))
	case TypeSuback:
		c := p.suback
		c.UserProperties = UserProperties{}
		return fmt.Sprintf("%+v %s", c, user(p.suback.UserProperties))
	case TypeUnsubscribe:
		return fmt.Sprintf("%d %d %v %s", p.unsubscribe.PacketID, p.unsubscribe.Count, p.filters, user(p.unsubscribe.UserProperties))
	case TypeUnsuback:
		c := p.unsuback
		c.UserProperties = UserProperties{}
		return fmt.Sprintf("%+v %s", c, user(p.unsuback.UserProperties))
	case TypeDisconnect:
		c := p.disconnect
		c.UserProperties = UserProperties{}
		return fmt.Sprintf("%+v %s", c, user(p.disconnect.UserProperties))
	case TypeAuth:
		c := p.auth
		c.UserProperties = UserProperties{}
		return fmt.Sprintf("%+v %s", c, user(p.auth.UserProperties))
	}
	return p.typ.String()
}
