// Package conformance checks an MQTT broker against the specification, one
// normative statement after the other, over its sockets alone.
//
//	go test ./conformance                                  # a PromptMQ of its own
//	go test ./conformance -broker tcp://localhost:1883     # any broker
//	make conformance-bin && ./conformance.test -broker ws://localhost:8080/mqtt
//
// statements.tsv lists the statements of MQTT 5 and 3.1.1: whom each binds, and
// the tests that exercise it or the reason why none can. Each test is an entry
// of a table in the file named after the packet or the section it is about; it
// says which statements it cites, and runs once for each version that has some.
//
// A test passes, fails, is not offered (the broker said in CONNACK that it lacks
// the feature) or is not run (it needs a restart or a configuration that the
// suite cannot give to a foreign broker). Silence of the broker is a failure
// after answerTime.
package conformance
