// Package login answers who a Client is: it asks one source of identities after the other,
// limits what a storm of logins may cost, and keeps those away that keep guessing.
//
// A Chain is the broker's Authenticator. Nothing here knows the broker, the store or a
// socket.
package login
