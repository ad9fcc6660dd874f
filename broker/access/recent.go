package access

import "container/list"

// recent is a map that keeps those entries that were used last.
type recent[K comparable, V any] struct {
	most    int
	entries map[K]*list.Element
	order   *list.List // of *recentEntry, the one used last in front
}

type recentEntry[K comparable, V any] struct {
	key   K
	value V
}

func newRecent[K comparable, V any](most int) recent[K, V] {
	return recent[K, V]{most: most, entries: make(map[K]*list.Element), order: list.New()}
}

// get returns nil if there is no entry. It does not count as use.
func (r *recent[K, V]) get(key K) *V {
	if e := r.entries[key]; e != nil {
		return &e.Value.(*recentEntry[K, V]).value
	}
	return nil
}

// use returns the entry of a key, and makes it if there is none.
func (r *recent[K, V]) use(key K) *V {
	e := r.entries[key]
	if e == nil {
		if len(r.entries) >= r.most {
			r.remove(r.order.Back().Value.(*recentEntry[K, V]).key)
		}
		e = r.order.PushFront(&recentEntry[K, V]{key: key})
		r.entries[key] = e
	} else {
		r.order.MoveToFront(e)
	}
	return &e.Value.(*recentEntry[K, V]).value
}

func (r *recent[K, V]) remove(key K) {
	if e := r.entries[key]; e != nil {
		r.order.Remove(e)
		delete(r.entries, key)
	}
}
