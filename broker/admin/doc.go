// Package admin is the API of an operator: what can be seen of a broker, and changed while
// it runs. docs/api.md is its description, made from the same Go types.
//
// # Protocol
//
// HTTP with JSON, below [Prefix]. Errors are problem details (RFC 9457): 422 says that what was
// asked for cannot be done because of what it says, 500 that it failed. Requests,
// connections, answers and times are bounded. GET changes nothing.
//
// # Adding an operation
//
// [Handle] adds one to an [API], with the role that it needs. The API is served on a Unix
// socket in the data directory ([Serve]), which only the user of the broker and root can connect
// to, and, while no broker runs, called by the process of a command itself ([Local]): so all
// check the same. [Call] is the other side of each. Its input is a struct with fields that have
// the tags path and query, and a field Body; its output is the body of the answer.
//
// # Who runs
//
// The lock of the data directory says whether a broker runs, not the socket: who serves
// holds the lock, and replaces a socket that a killed process left.
package admin
