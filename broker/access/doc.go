// Package access says who a Client is taken for and what it may do: identities, passwords,
// rules and the decision about each request. It does no I/O, has no clock of its own and no
// SQL: who calls it reads the files, asks the database and says what time it is.
package access
