package broker

import (
	"fmt"
	"slices"
	"strings"
)

// SetPacketIDs lets the Sessions of b, which has not started, use so few Packet Identifiers.
func (b *Broker) SetPacketIDs(n int) { b.limits.SetPacketIDs(n) }

// ClientsForTest describes all Clients: their Sessions, owners, Wills and connections.
func (b *Broker) ClientsForTest() string {
	var lines []string
	for _, cl := range b.registry.all() {
		cl.mu.Lock()
		line := fmt.Sprintf("%q changing=%d conn=%p", cl.id, cl.changing, cl.conn)
		if s := cl.sess; s != nil {
			line += fmt.Sprintf(" session=%d of %q will=%p expiry=%d queue=%d subscriptions=%d",
				s.ID, s.UserName, s.Will(), s.ExpirySeconds(), s.QueueLen(), s.SubscriptionCount())
		}
		cl.mu.Unlock()
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// ReceivingForTest is how many QoS 2 messages of a Client were accepted and not yet released.
func (b *Broker) ReceivingForTest(id string) (n int) {
	for _, cl := range b.registry.all() {
		cl.mu.Lock()
		if cl.id == id && cl.sess != nil {
			n = cl.sess.ReceivingCount()
		}
		cl.mu.Unlock()
	}
	return n
}
