package broker

import (
	"context"
	"fmt"
	"sync"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// subscriptionIDMax is the highest Subscription Identifier.
const subscriptionIDMax = 268_435_455

// Subscribe makes a subscription for the Session of a Client, or replaces the one with its
// filter, as a SUBSCRIBE of that Client would: by the same checks, limits and rules, with the
// retained messages that Retain Handling asks for. A Client that is connected gets what it
// matches from now on. What sub.Client says does not matter. If the Session is durable,
// Subscribe returns when the subscription is on disk.
//
// It fails with inspect.ErrNotFound if there is no Session with this Client Identifier, with
// an *inspect.Invalid, with an *inspect.Refused, or with ctx's error: then the subscription
// is made, but may not be on disk.
func (b *Broker) Subscribe(ctx context.Context, id string, sub inspect.Subscription) error {
	filter, err := b.checkSubscription(&sub)
	if err != nil {
		return err
	}
	cl := b.registry.find(id)
	if cl == nil {
		return inspect.ErrNotFound
	}
	group, reason, err := cl.subscribeByOperator(filter, &session.Subscription{
		Filter: sub.Filter, QoS: min(codec.QoS(sub.QoS), b.o.MaxQoS), NoLocal: sub.NoLocal,
		RetainAsPublished: sub.RetainAsPublished, RetainHandling: byte(sub.RetainHandling), ID: sub.ID,
	})
	switch {
	case err != nil:
		return err
	case reason == codec.NotAuthorized:
		return &inspect.Refused{Reason: reason.String(), Why: "the rules do not let the user of the session subscribe to this"}
	case reason != codec.Success:
		key, limit := cl.quotaOfFilters(1)
		return &inspect.Refused{Reason: reason.String(), Why: fmt.Sprintf("%s: %v", key, limit)}
	}
	return b.commits.WaitContext(ctx, group)
}

// checkSubscription returns the Topic Filter without $share, or says what is wrong with a
// subscription whoever it is for.
func (b *Broker) checkSubscription(sub *inspect.Subscription) (filter codec.View, err error) {
	switch {
	case !codec.ValidUTF8(codec.View(sub.Filter)) || len(sub.Filter) > 65535:
		return nil, &inspect.Invalid{Field: "filter", Why: "not UTF-8, or more than 65,535 bytes"}
	case sub.QoS < 0 || sub.QoS > 2:
		return nil, &inspect.Invalid{Field: "qos", Why: "0, 1 or 2"}
	case sub.RetainHandling < 0 || sub.RetainHandling > 2:
		return nil, &inspect.Invalid{Field: "retain_handling", Why: "0, 1 or 2"}
	case sub.ID > subscriptionIDMax:
		return nil, &inspect.Invalid{Field: "identifier", Why: fmt.Sprintf("at most %d", subscriptionIDMax)}
	}
	filter, reason, err := b.checkFilter(codec.View(sub.Filter), sub.NoLocal)
	if err != nil {
		_, why, _ := reasonOf(err)
		return nil, &inspect.Invalid{Field: "filter", Why: why}
	}
	if reason != codec.Success {
		key, limit := b.limitOfFilter(reason)
		return nil, &inspect.Refused{Reason: reason.String(), Why: fmt.Sprintf("%s: %v", key, limit)}
	}
	return filter, nil
}

// subscribeByOperator makes a subscription, whose Topic Filter without $share is given too.
// It returns the commit group to wait for; 0: none.
func (cl *Client) subscribeByOperator(filter codec.View, sub *session.Subscription) (group uint64, reason codec.ReasonCode, err error) {
	b := cl.b
	var pend pending
	defer pend.flush(b.m)
	b.commits.Enter()
	defer b.leave(&pend)
	release := b.holdSubscribing()
	defer release()
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.sess == nil {
		return 0, 0, inspect.ErrNotFound
	}
	if !cl.mayBeSubscribedLocked(filter, sub.QoS) {
		return 0, codec.NotAuthorized, nil
	}
	now := b.clock.Now()
	reasons := [1]codec.ReasonCode{codec.Success}
	made := cl.subscribeStepLocked([]request{{sub: sub}}, reasons[:], cl.visitsLocked(), now, &pend)
	if reasons[0] != codec.Success {
		return 0, reasons[0], nil
	}
	release()
	cl.feedFoundLocked(made, now, &pend)
	cl.startFeedLocked()
	if cl.sess.Durable() {
		group = cl.lastGroup
	}
	return group, codec.Success, nil
}

// mayBeSubscribedLocked asks the rules for the Client that is connected, or else for the owner
// of the Session. The caller holds client.mu, and there is a Session.
func (cl *Client) mayBeSubscribedLocked(filter codec.View, qos codec.QoS) bool {
	perm := cl.b.permission.Load()
	if perm == nil {
		return true
	}
	who := cl.receiverLocked(perm).receives
	return who != nil && perm.policy.DecideView(who, filter, access.Request{Action: access.Subscribe, QoS: qos}).Allowed
}

// Unsubscribe removes a subscription of the Session of a Client, as an UNSUBSCRIBE of that
// Client would. If the Session is durable, it returns when that is on disk. It fails with
// inspect.ErrNotFound if there is no such subscription, or with ctx's error: then it is
// removed, but may not be on disk.
func (b *Broker) Unsubscribe(ctx context.Context, id, filter string) error {
	cl := b.registry.find(id)
	if cl == nil {
		return inspect.ErrNotFound
	}
	group, err := cl.unsubscribeByOperator(filter)
	if err != nil {
		return err
	}
	return b.commits.WaitContext(ctx, group)
}

// unsubscribeByOperator removes a subscription, and hands over what other members of a Shared
// Subscription may get. It returns the commit group to wait for; 0: none.
func (cl *Client) unsubscribeByOperator(filter string) (group uint64, err error) {
	b := cl.b
	var pend pending
	defer pend.flush(b.m)
	b.commits.Enter()
	defer b.leave(&pend)
	now := b.clock.Now()
	var orphans []session.Entry
	err = func() error {
		b.router.mu.Lock()
		unlockRouter := sync.OnceFunc(b.router.mu.Unlock)
		defer unlockRouter()
		cl.mu.Lock()
		defer cl.mu.Unlock()
		if cl.sess == nil || cl.sess.Subscription(filter) == nil {
			return inspect.ErrNotFound
		}
		_, shares := cl.unsubscribeStepLocked([]codec.View{codec.View(filter)}, nil, now, &pend)
		unlockRouter() // the queue may be long
		if shares != nil {
			pend.fx.Reset()
			orphans = cl.sess.TakeShared(shares, false, &pend.fx)
			cl.applyLocked(now, &pend)
		}
		if cl.sess.Durable() {
			group = cl.lastGroup
		}
		return nil
	}()
	if err == nil {
		b.handOver(orphans, cl, group > 0, now, &pend)
	}
	return group, err
}
