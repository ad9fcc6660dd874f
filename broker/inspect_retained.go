package broker

import (
	"cmp"
	"context"
	"slices"

	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
	"github.com/x0a1b/promptmq/topics"
)

// The orders of the lists of retained messages, for their cursors.
const retainedRows, retainedLevels = "retained", "retained levels"

// Retained returns retained messages whose Topic Names a Topic Filter matches; "": all. Up to
// 1,024 are in the order of their names, and there is a total. More are in the order in which
// they were retained; one that is replaced meanwhile may come twice, and none is left out.
func (b *Broker) Retained(ctx context.Context, filter string, w inspect.Window) (page inspect.Page[inspect.Retained], err error) {
	if err := b.checkInspected(filter, true); err != nil {
		return page, err
	}
	var at rank // number is a version; 0: all up to text are done
	if w.Cursor != "" {
		if at, err = parseCursor(w.Cursor, retainedRows); err != nil {
			return page, err
		}
	}
	limit := windowLimit(w)
	page.Items = make([]inspect.Retained, 0, limit)
	if at.number == 0 {
		if found, whole := b.fewRetained(filter); whole {
			page.Total = len(found)
			found = slices.DeleteFunc(found, func(r *retainedMessage) bool { return r.message.Topic <= at.text })
			for _, r := range found[:min(limit, len(found))] {
				page.Items = append(page.Items, r.inspect())
			}
			if len(found) > limit {
				page.Next = rank{text: page.Items[limit-1].Topic}.cursor(retainedRows)
			}
			return page, nil
		}
	}
	// What is not above at.text was shown while there were few.
	err = b.eachRetained(ctx, filter, uint64(at.number), func(r *retainedMessage) bool {
		if r.message.Topic <= at.text {
			return true
		}
		if len(page.Items) == limit {
			page.Next = at.cursor(retainedRows)
			return false
		}
		at.number = int64(r.version)
		page.Items = append(page.Items, r.inspect())
		return true
	})
	return page, err
}

// fewRetained returns the retained messages that a filter matches, in the order of their
// names, unless there are many or they are not found soon.
func (b *Broker) fewRetained(filter string) (found []*retainedMessage, whole bool) {
	func() {
		b.retained.mu.RLock()
		defer b.retained.mu.RUnlock()
		set := &b.retained.set
		if filter != "" {
			var left int
			found, left = set.find(filter, 0, set.version, listMax, walkMax)
			whole = left >= 0
			return
		}
		if whole = set.len() <= listMax; whole {
			for _, block := range set.byVersion.blocks {
				for _, v := range block {
					found = append(found, v.message)
				}
			}
		}
	}()
	slices.SortFunc(found, func(a, b *retainedMessage) int { return cmp.Compare(a.message.Topic, b.message.Topic) })
	return found, whole
}

// eachRetained calls fn with the retained messages that a filter matches and that are newer
// than a version, oldest first, until it returns false. fn is called with no lock held.
func (b *Broker) eachRetained(ctx context.Context, filter string, after uint64, fn func(*retainedMessage) bool) error {
	step := make([]*retainedMessage, 0, scanStep)
	for ctx.Err() == nil {
		step, after = b.nextRetained(step[:0], after)
		if len(step) == 0 {
			return nil
		}
		for _, r := range step {
			if (filter == "" || topics.MatchString(filter, r.message.Topic)) && !fn(r) {
				return nil
			}
		}
	}
	return ctx.Err()
}

// nextRetained appends the retained messages that are newer than a version, scanStep at most,
// and returns the version of the last.
func (b *Broker) nextRetained(step []*retainedMessage, after uint64) ([]*retainedMessage, uint64) {
	b.retained.mu.RLock()
	defer b.retained.mu.RUnlock()
	for range scanStep {
		r := b.retained.set.byVersion.after(after)
		if r == nil {
			break
		}
		step, after = append(step, r), r.version
	}
	return step, after
}

// checkInspected says what is wrong with a Topic Filter that an operator asks by.
func (b *Broker) checkInspected(filter string, mayBeEmpty bool) error {
	if filter == "" && mayBeEmpty {
		return nil
	}
	err := topics.ValidFilter([]byte(filter), 0)
	if err == nil && codec.ValidUTF8(codec.View(filter)) {
		return nil
	}
	why := "it is not UTF-8"
	if err != nil {
		why = err.Error()
	}
	return &inspect.Invalid{Field: "filter", Why: why}
}

// inspect is the message as a row of a list. What it says does not change.
func (r *retainedMessage) inspect() inspect.Retained {
	m := r.message
	return inspect.Retained{
		Topic: m.Topic, QoS: int(m.QoS), Bytes: len(m.Payload), User: r.owner.name(), Expires: m.ExpiresAt.UTC(),
	}
}

// RetainedMessage returns the retained message of a Topic Name, or inspect.ErrNotFound. Its
// payload must not be changed.
func (b *Broker) RetainedMessage(topic string) (inspect.Message, error) {
	r := b.retained.get(codec.View(topic))
	if r == nil {
		return inspect.Message{}, inspect.ErrNotFound
	}
	return r.whole(b), nil
}

// whole is the message with its payload and properties.
func (r *retainedMessage) whole(b *Broker) inspect.Message {
	m := inspectMessage(r.message)
	m.Retain, m.User = true, r.owner.name()
	m.ExpirySeconds, _ = r.message.RemainingExpirySeconds(b.clock.Now())
	return m
}

// inspectMessage is a message as an operator sees it, without its expiry.
func inspectMessage(from *session.Message) inspect.Message {
	m := inspect.Message{Topic: from.Topic, Payload: from.Payload, QoS: int(from.QoS), Retain: from.Retain}
	f := codec.ForwardBytes(from.Forward)
	if v, ok := f.ContentType(); ok {
		m.ContentType = v.String()
	}
	if v, ok := f.ResponseTopic(); ok {
		m.ResponseTopic = v.String()
	}
	if v, ok := f.CorrelationData(); ok {
		m.CorrelationData = v.Clone()
	}
	if v, ok := f.PayloadFormat(); ok {
		m.PayloadIsText = v == 1
	}
	f.EachUserProperty(func(name, value codec.View) bool {
		m.UserProperties = append(m.UserProperties, inspect.UserProperty{Name: name.String(), Value: value.String()})
		return true
	})
	return m
}

// ExportRetained calls each with every retained message whose Topic Name a Topic Filter
// matches; "": all. One that is replaced meanwhile may come twice, the newer one later. It
// ends with the first error, that of ctx among them.
func (b *Broker) ExportRetained(ctx context.Context, filter string, each func(inspect.Message) error) (err error) {
	if err := b.checkInspected(filter, true); err != nil {
		return err
	}
	upTo := b.retained.version()
	give := func(r *retainedMessage) bool {
		err = each(r.whole(b))
		return err == nil
	}
	failed := b.eachRetained(ctx, filter, 0, func(r *retainedMessage) bool { return r.version <= upTo && give(r) })
	if err != nil || failed != nil {
		return cmp.Or(err, failed)
	}
	// What was replaced meanwhile is gathered at once: if who reads is slower than who
	// publishes it would have no end.
	var newer []*retainedMessage
	if err := b.eachRetained(ctx, filter, upTo, func(r *retainedMessage) bool {
		newer = append(newer, r)
		return true
	}); err != nil {
		return err
	}
	for _, r := range newer {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !give(r) {
			return err
		}
	}
	return nil
}
