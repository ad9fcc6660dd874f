package broker

import (
	"context"
	"math"
	"slices"

	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/topics"
)

const (
	// levelsStep is how many levels are looked at under one lock.
	levelsStep = 4096
	// levelVisits is how many nodes are visited to count what is below the levels of one
	// part of the list.
	levelVisits = 1 << 18
)

// RetainedLevels returns the levels of the tree of retained messages right below a prefix, in
// their order; "" is above all, any other is Topic and a slash.
func (b *Broker) RetainedLevels(ctx context.Context, prefix string, w inspect.Window) (page inspect.Page[inspect.TopicLevel], err error) {
	if prefix != "" {
		if err := topics.ValidName([]byte(prefix), 0); err != nil {
			return page, &inspect.Invalid{Field: "prefix", Why: err.Error()}
		}
		if prefix[len(prefix)-1] != '/' {
			return page, &inspect.Invalid{Field: "prefix", Why: "it does not end with a slash"}
		}
	}
	sel, err := newSelection[struct{}](w, retainedLevels, false)
	if err != nil {
		return page, err
	}
	for from := math.MaxInt; from > 0; {
		if ctx.Err() != nil {
			return page, ctx.Err()
		}
		from, page.Total = b.offerLevels(sel, prefix, from)
	}
	rows, next := sel.take()
	// One that took the place of another that was deleted meanwhile may have come twice.
	rows = slices.CompactFunc(rows, func(a, b selected[struct{}]) bool { return a.text == b.text })
	page.Next, page.Items = next, make([]inspect.TopicLevel, 0, len(rows))
	for _, row := range rows {
		if l, exists := b.retainedLevel(prefix, row.text, min(levelVisits/sel.limit, walkMax)); exists {
			page.Items = append(page.Items, l)
		}
	}
	return page, nil
}

// offerLevels offers the next levels below a prefix, and returns where to go on and how many
// there are in all.
func (b *Broker) offerLevels(sel *selection[struct{}], prefix string, from int) (next, all int) {
	b.retained.mu.RLock()
	defer b.retained.mu.RUnlock()
	return b.retained.set.byName.Levels(prefix, from, levelsStep, func(name string) {
		sel.offer(rank{text: name}, struct{}{})
	})
}

// retainedLevel is one level with what is below it, as far as so many visits of nodes tell.
func (b *Broker) retainedLevel(prefix, name string, visits int) (l inspect.TopicLevel, exists bool) {
	l.Name, l.Topic = name, prefix+name
	b.retained.mu.RLock()
	defer b.retained.mu.RUnlock()
	set := &b.retained.set
	count, whole, exists := set.byName.Below(l.Topic, visits)
	l.Below, l.More = count, !whole
	if r := set.get(viewOf(l.Topic)); r != nil {
		l.Retained, l.Bytes = true, len(r.message.Payload)
	}
	return l, exists
}
