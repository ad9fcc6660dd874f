// Package conformance drives an MQTT broker over its socket and checks, one
// test per normative statement of the specification, what it answers.
//
//	go test ./conformance                                # a PromptMQ of its own
//	go test ./conformance -args -broker localhost:1883   # any broker
//
// It is the beginning of the suite: the statements it has so far are listed by
// go test -v.
package conformance
