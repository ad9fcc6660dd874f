// Package admin is how the commands of an operator reach a running broker: over a Unix
// socket in its data directory, which only the user of the broker, and root, can connect to.
//
// # Protocol
//
// HTTP/1.1. A command is a POST to its path with a JSON object as its body, and is answered
// by 200 with another, or by a status from 400 on with an object that has the member error.
// 422 says that what was asked for cannot be done because of what it says; 500 that it
// failed. Requests, connections and times are bounded.
//
// # Adding a command
//
// [Handle] adds one to a set of [Commands], which is served on the socket ([Serve]) and, while
// no broker runs, called by the process of the command itself ([Local]): so both check
// the same. [Call] is the other side of either.
//
// # Who runs
//
// The lock of the data directory says whether a broker runs, not the socket: who serves
// holds the lock, and replaces a socket that a killed process left.
package admin
