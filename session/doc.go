// Package session has the Session State of one Client (section 4.1) as a state machine,
// and what a store keeps of it. It is pure: it does no I/O, has no clock, no lock and no
// goroutine. Events bring the time; what is to be written and sent comes back in an
// Effects.
//
// # Events
//
//	a Session begins, goes on, ends   Open, Resume, Attach, Close, End, HandedOn
//	what the Client asks for          Subscribe, Unsubscribe, SetWill, SetExpiry
//	messages from the Client          ReceivePublish, ReceivePubrel
//	messages to the Client            Deliver, SendNow, Refuse, Paged, ReceivePuback,
//	                                  ReceivePubrec, ReceivePubcomp, TakeShared, TakeLost
//	time passes                       TakeDueWill, SweepWindow, SweepPage
//	retained messages                 Owe, Disown
//
// # Durability
//
// Only of a Session that is Durable something is written, apart from a Will that is
// kept. What an event writes joins the open commit group before anything that it sends
// may leave. Then what waits for the commit of what?
//
//	PUBLISH QoS 0 to a subscriber   nothing
//	PUBLISH QoS 1 to a subscriber   nothing: it may come again after a crash, so that a
//	                                prompt subscriber can acknowledge before the commit.
//	                                But if the disk may not tell that its Packet
//	                                Identifier is free: its queue entry, and that
//	                                message's end that had the identifier before
//	PUBLISH QoS 2 to a subscriber   its queue entry, and that it was sent: else it would
//	                                come twice after a crash
//	PUBREL to a subscriber          that PUBREC was received
//	PUBACK                          the message, the entries of every Durable subscriber
//	                                and the retained message: one transaction
//	PUBREC to the publisher         the same, and the Packet Identifier
//	PUBCOMP to the publisher        the removal of that identifier: else its next message
//	                                would be taken for a repetition
//	SUBACK, UNSUBACK                the subscriptions, if the Session is Durable
//	CONNACK                         the Record and the Will, if it is Durable; and of a
//	                                Session that had to go, that it is gone
//	close after DISCONNECT          the Record and the Will, or that the Session is gone
//	a Reason Code from 0x80 on      nothing, and nothing has changed: a refusal is final
//
// If every Durable subscriber has acknowledged before the commit, insertion and removal
// cancel each other: nothing is written, and PUBACK needs no disk. So it is with all that
// is added and removed within one commit group and that nobody waits for.
package session
