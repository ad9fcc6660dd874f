package broker

import (
	"bytes"
	"context"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/codec"
)

// Clients returns a part of the list of all Clients that have a Session. Total is how many
// the filter lets through. The list is no snapshot: of Clients that come, go or change their
// place while it is read, each is in one part, in two, or in none. It fails with ctx's
// error, inspect.ErrBadCursor or an *inspect.Invalid.
func (b *Broker) Clients(ctx context.Context, f inspect.ClientFilter, w inspect.Window) (page inspect.Page[inspect.Client], err error) {
	column := f.Sort
	if column == "" {
		column = "id"
	}
	rankOf := clientColumns[column]
	if rankOf == nil {
		return page, &inspect.Invalid{Field: "sort", Why: "clients are not sorted by " + column + "; they are by " + strings.Join(slices.Sorted(maps.Keys(clientColumns)), ", ")}
	}
	order := "clients by " + column
	if f.Descending {
		order += ", descending"
	}
	found, err := newSelection[*Client](w, order, f.Descending)
	if err != nil {
		return page, err
	}
	f.Search = strings.ToLower(f.Search)
	now := b.clock.Now()
	for i, cl := range b.registry.all() {
		if i%lookEvery == 0 && ctx.Err() != nil {
			return page, ctx.Err()
		}
		cl.mu.Lock()
		var r rank
		passes := cl.passesLocked(&f, now)
		if passes {
			r = rankOf(cl)
			r.id = cl.id
		}
		cl.mu.Unlock()
		if passes {
			found.offer(r, cl)
		}
	}
	rows, next := found.take()
	page.Items, page.Next, page.Total = make([]inspect.Client, 0, len(rows)), next, found.total
	for _, r := range rows {
		cl := r.item
		cl.mu.Lock()
		if cl.sess != nil { // else it has ended since
			page.Items = append(page.Items, cl.rowLocked())
		}
		cl.mu.Unlock()
	}
	return page, nil
}

// EachClient calls each with all Clients that have a Session, in one walk and no order; each may
// keep them. Like Clients it is no snapshot. It fails with ctx's error.
func (b *Broker) EachClient(ctx context.Context, each func(*inspect.Client)) error {
	for i, cl := range b.registry.all() {
		if i%lookEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		cl.mu.Lock()
		there := cl.sess != nil
		var row inspect.Client
		if there {
			row = cl.rowLocked()
		}
		cl.mu.Unlock()
		if there {
			each(&row)
		}
	}
	return nil
}

// clientColumns give a Client its place in the list by a column of inspect.Client. The
// caller holds client.mu, and there is a Session.
var clientColumns = map[string]func(cl *Client) rank{
	"id":                     func(*Client) rank { return rank{} },
	"user":                   func(cl *Client) rank { return rank{text: cl.userLocked()} },
	"connected":              func(cl *Client) rank { return rankOfBool(cl.conn != nil) },
	"address":                func(cl *Client) rank { return rank{text: cl.addressLocked()} },
	"listener":               func(cl *Client) rank { return rank{text: cl.listenerLocked()} },
	"protocol":               func(cl *Client) rank { return rank{number: int64(cl.sess.Version())} },
	"connected_at":           func(cl *Client) rank { return rank{number: unixNano(cl.trafficLocked().ConnectedAt)} },
	"disconnected_at":        func(cl *Client) rank { return rank{number: unixNano(cl.disconnectedAtLocked())} },
	"keep_alive_seconds":     func(cl *Client) rank { return rank{number: int64(cl.keepAliveLocked())} },
	"durable":                func(cl *Client) rank { return rankOfBool(cl.sess.Durable()) },
	"session_expiry_seconds": func(cl *Client) rank { return rank{number: int64(cl.sess.ExpirySeconds())} },
	"expires_at":             func(cl *Client) rank { return rank{number: unixNano(cl.expiresAtLocked())} },
	"subscriptions":          func(cl *Client) rank { return rank{number: int64(cl.sess.SubscriptionCount())} },
	"queued":                 func(cl *Client) rank { return rank{number: int64(cl.sess.QueueLen())} },
	"queued_bytes":           func(cl *Client) rank { return rank{number: cl.sess.QueueBytes()} },
	"in_flight":              func(cl *Client) rank { return rank{number: int64(cl.sess.InFlight())} },
	"dropped":                func(cl *Client) rank { return rank{number: int64(cl.droppedLocked())} },
	"messages_in":            func(cl *Client) rank { return rank{number: int64(cl.trafficLocked().MessagesIn)} },
	"messages_out":           func(cl *Client) rank { return rank{number: int64(cl.trafficLocked().MessagesOut)} },
	"bytes_in":               func(cl *Client) rank { return rank{number: int64(cl.trafficLocked().BytesIn)} },
	"bytes_out":              func(cl *Client) rank { return rank{number: int64(cl.trafficLocked().BytesOut)} },
	"waiting_bytes":          func(cl *Client) rank { return rank{number: int64(cl.waitingLocked())} },
	"has_will":               func(cl *Client) rank { return rankOfBool(cl.sess.Will() != nil) },
}

func rankOfBool(yes bool) rank {
	if yes {
		return rank{number: 1}
	}
	return rank{}
}

func unixNano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// passesLocked reports whether the list has the Client; f.Search is in lower case.
func (cl *Client) passesLocked(f *inspect.ClientFilter, now time.Time) bool {
	switch {
	case cl.sess == nil,
		f.Connected != nil && *f.Connected != (cl.conn != nil),
		f.Durable != nil && *f.Durable != cl.sess.Durable(),
		f.IdleFor > 0 && cl.idleLocked(now) < f.IdleFor,
		f.User != "" && f.User != cl.userLocked(),
		f.Listener != "" && f.Listener != cl.listenerLocked():
		return false
	}
	return f.Search == "" || holds(cl.id, f.Search) || holds(cl.userLocked(), f.Search) || cl.addressHoldsLocked(f.Search)
}

// holds reports whether s has part in it, which is in lower case.
func holds(s, part string) bool { return strings.Contains(strings.ToLower(s), part) }

// rowLocked is what the list shows of the Client, which has a Session.
func (cl *Client) rowLocked() inspect.Client {
	s, c := cl.sess, cl.conn
	row := inspect.Client{
		ID: cl.id, User: cl.userLocked(), Connected: c != nil, Address: cl.addressLocked(), Listener: cl.listenerLocked(),
		Protocol: shownVersion(s.Version()), DisconnectedAt: cl.disconnectedAtLocked(), KeepAlive: int(cl.keepAliveLocked()),
		Durable: s.Durable(), ExpiryInterval: s.ExpirySeconds(), ExpiresAt: cl.expiresAtLocked(),
		Subscriptions: s.SubscriptionCount(), Queued: s.QueueLen(), QueuedBytes: s.QueueBytes(), InFlight: s.InFlight(),
		WaitingOut: cl.waitingLocked(), HasWill: s.Will() != nil, Dropped: cl.droppedLocked(),
	}
	t := cl.trafficLocked()
	row.ConnectedAt, row.MessagesIn, row.MessagesOut, row.BytesIn, row.BytesOut = utc(t.ConnectedAt), t.MessagesIn, t.MessagesOut, t.BytesIn, t.BytesOut
	return row
}

// trafficLocked is what has passed over the Client's connection; zero: there is none.
func (cl *Client) trafficLocked() link.Traffic {
	if cl.conn == nil {
		return link.Traffic{}
	}
	return cl.conn.out.Traffic()
}

// shownVersion names the version as inspect.Client.Protocol does.
func shownVersion(v codec.Version) string {
	if v == codec.Version5 {
		return "5.0"
	}
	return v.String()
}

// userLocked is who the Client is, or whose its Session is; "": nobody is known.
func (cl *Client) userLocked() string {
	if who := cl.who.Load(); who != nil && who.conn != nil {
		return who.User
	}
	return cl.sess.UserName
}

// addressLocked is where the Client is; "": it is not connected.
func (cl *Client) addressLocked() string {
	if cl.conn == nil {
		return ""
	}
	return cl.conn.net().RemoteAddr().String()
}

// addressHoldsLocked reports whether addressLocked has part in it, which is in lower case. A
// search asks it of every Client, so the usual kind of address is not made a string for it.
func (cl *Client) addressHoldsLocked(part string) bool {
	if cl.conn == nil {
		return false
	}
	tcp, ok := cl.conn.net().RemoteAddr().(*net.TCPAddr)
	if !ok || tcp.Zone != "" {
		return holds(cl.addressLocked(), part)
	}
	var room [64]byte
	at := tcp.AddrPort()
	return bytes.Contains(netip.AddrPortFrom(at.Addr().Unmap(), at.Port()).AppendTo(room[:0]), []byte(part))
}

// listenerLocked is the name of the listener that the Client came in by; "": it is not
// connected.
func (cl *Client) listenerLocked() string {
	if cl.conn == nil {
		return ""
	}
	return cl.conn.net().Listener().String()
}

func (cl *Client) keepAliveLocked() uint16 {
	if cl.conn == nil {
		return 0
	}
	return cl.conn.params.keepAliveSeconds
}

// idleLocked is for how long the Client, which has a Session, has had no connection, at
// least; 0: it has one.
func (cl *Client) idleLocked(now time.Time) time.Duration {
	if cl.conn != nil || cl.stored == nil || cl.stored.leftAt == 0 {
		return 0
	}
	at := cl.stored.leftAt
	return time.Duration(momentOf(now) - max(at, -at))
}

// disconnectedAtLocked is when the last connection ended; zero: there is one, or it is not
// known when.
func (cl *Client) disconnectedAtLocked() time.Time {
	if cl.conn != nil || cl.stored == nil || cl.stored.leftAt <= 0 {
		return time.Time{}
	}
	return cl.stored.leftAt.time().UTC()
}

// expiresAtLocked is when the Session ends if nobody resumes it; zero: never, or the Client
// is connected.
func (cl *Client) expiresAtLocked() time.Time {
	if cl.conn != nil || cl.stored == nil || cl.stored.expiresAt == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(cl.stored.expiresAt)).UTC()
}

// waitingLocked is how many bytes wait to be written to the Client.
func (cl *Client) waitingLocked() int {
	if cl.conn == nil {
		return 0
	}
	n, _ := cl.conn.out.Waiting()
	return n
}

// subscribedMax is how many subscriptions Client shows.
const subscribedMax = 1000

// Client returns what is known of one Client. It fails with inspect.ErrNotFound if there is
// no Session with this Client Identifier.
func (b *Broker) Client(id string) (d inspect.ClientDetail, err error) {
	cl := b.registry.find(id)
	if cl == nil {
		return d, inspect.ErrNotFound
	}
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.sess == nil {
		return d, inspect.ErrNotFound
	}
	d.Client = cl.rowLocked()
	if who := cl.who.Load(); who != nil && who.conn != nil {
		d.Groups, d.Method = who.Groups, string(who.Method)
	}
	if c := cl.conn; c != nil {
		d.ReceiveMaximum, d.PacketBytesMax = int(c.params.receiveMaximum), c.params.packetBytesMax
	}
	if w := cl.sess.Will(); w != nil {
		d.WillTopic = w.Message.Topic
	}
	subs, err := newSelection[inspect.Subscription](inspect.Window{Limit: subscribedMax}, "", false)
	if err != nil {
		return d, err
	}
	for sub := range cl.sess.Subscriptions() {
		subs.offer(rank{id: sub.Filter}, cl.shown(sub))
	}
	rows, _ := subs.take()
	d.Subscribed = make([]inspect.Subscription, 0, len(rows))
	for _, r := range rows {
		d.Subscribed = append(d.Subscribed, r.item)
	}
	d.LastDrops = b.drops.of(cl)
	return d, nil
}

// Disconnect ends the connection of a Client, with DISCONNECT 0x98 (Administrative action)
// if it speaks version 5, and reason as its Reason String. Its Will is published as if the
// Network Connection were lost [MQTT-3.1.2-8]; its Session stays as long as it was to. When
// Disconnect returns nothing that the Client sends has any effect any more, but the
// connection may still be there for as long as it takes to tell it. It fails with
// inspect.ErrNotFound if there is no such Client, with inspect.ErrNotConnected if it has no connection.
func (b *Broker) Disconnect(id, reason string) error {
	cl := b.registry.find(id)
	switch {
	case cl == nil:
		return inspect.ErrNotFound
	case !cl.endConnection(reason):
		return inspect.ErrNotConnected
	}
	return nil
}

// endConnection makes the reader of the Client's connection end it, and reports whether
// there was one. No lock may be held.
func (cl *Client) endConnection(reason string) bool {
	who := cl.connectedPrincipal()
	return who != nil && cl.b.tellEnd(who, codec.AdministrativeAction, reason)
}

// connectedPrincipal is the principal of the connection that the Client has, made if it was
// not needed before; nil: there is no connection.
func (cl *Client) connectedPrincipal() *principal {
	cl.mu.Lock()
	c := cl.conn
	cl.mu.Unlock()
	if c == nil {
		return nil
	}
	return c.connected()
}
