// Package topics matches Topic Names with Topic Filters (section 4.7): Filters
// finds the subscriptions that match a name, Names the retained messages that
// match a filter. It knows neither clients nor messages, holds no lock and
// starts no goroutine: callers serialise changes; any number of goroutines may
// match while nothing changes.
//
// Levels are compared byte by byte, without normalisation. [MQTT-4.7.3-4]
//
// A match walks the trie breadth first and visits a node at most once, so its
// cost is bounded by the number of trie nodes down to the depth of the name,
// however filters are built; no call recurses.
package topics
