// Package bench measures MQTT brokers from outside: any broker, by TCP or
// WebSocket, with MQTT 5 or 3.1.1.
//
// A scenario (Throughput, Latency, …) is its settings; Measure runs it against
// a Runner's broker and gives a Result. Two rules hold for all of them. A
// message counts when it was delivered, never when it was sent: publishers keep
// at most a window of undelivered messages, so a broker that drops is not fast
// but fails. And the runner weighs itself: each Result has its own CPU time
// beside the broker's.
//
// Relay is the floor: it forwards the bytes of PUBLISH packets and knows
// nothing else of MQTT. Peers compares brokers in one sitting.
package bench
