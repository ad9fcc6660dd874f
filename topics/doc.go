// Package topics matches Topic Names with Topic Filters (section 4.7): Filters
// finds the subscriptions that match a name, Names the retained messages that
// match a filter. It knows neither clients nor messages, holds no lock and
// starts no goroutine: callers serialise changes; any number of goroutines may
// match while nothing changes.
//
// Levels are compared byte by byte, without normalisation. [MQTT-4.7.3-4]
//
// Filters finds a filter without wildcards by a hash of the name, the others by a
// walk through a trie, breadth first, that visits a node at most once and hashes
// each level once. So the cost of a match is bounded by the length of the name and
// the number of trie nodes down to its depth, however filters are built. Names
// walks depth first; no call recurses. Hashes are keyed with a random seed.
package topics
