// Package codec turns MQTT bytes into packet structs and back, for MQTT 5, 3.1.1
// and 3.1, without allocating and without policy.
//
// A Reader cuts a stream into Frames. Each packet type has a struct with
// Decode, which is strict, and an Append function, which never writes what
// Decode would refuse for its form. Decoded fields are Views: they borrow the
// reader's memory and end with its next Next, Room or Reset. Build with
// -tags invariants to have that memory overwritten at that moment.
//
// Errors are *Error values with the Reason Code to answer and the statement of
// the specification that the packet breaks.
package codec
