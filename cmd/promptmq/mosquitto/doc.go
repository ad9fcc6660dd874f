// Package mosquitto reads what a Mosquitto broker has on disk: its configuration, passwords,
// rules and state, of the versions 1.6 to 2.1. It says of each thing what becomes of it, and
// knows nothing of a store; it never writes to a file that it reads.
package mosquitto
