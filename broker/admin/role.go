package admin

import (
	"context"
	"net/netip"
)

// A Role is what somebody may do.
type Role string

// Roles.
const (
	// Nobody has not shown who it is.
	Nobody Role = "anyone"
	// A Viewer sees everything and changes nothing.
	Viewer Role = "viewer"
	// An Admin changes what can be changed.
	Admin Role = "admin"
)

// may reports whether who has the role may do what needs another. An unknown one may nothing.
func (r Role) may(needs Role) bool {
	switch needs {
	case Nobody:
		return true
	case Viewer:
		return r == Viewer || r == Admin
	case Admin:
		return r == Admin
	}
	return false
}

// A Caller is who asks for something.
type Caller struct {
	Role Role
	// Name is for the log: a user, or how somebody came who has no name.
	Name string
	// Address is where a Caller is that came over the network.
	Address string

	address netip.Addr
	secure  bool   // over TLS
	cookie  string // of its session; "": none
	// now returns the role as it is by now; nil: it stays as it was.
	now func() Role
}

// still reports whether a Caller may do by now what needs a role.
func (c *Caller) still(needs Role) bool { return c.now == nil || c.now().may(needs) }

type callerKey struct{}

// as returns a context of what somebody asks for.
func as(ctx context.Context, c *Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// callerOf returns who asks; without a word about it that is nobody.
func callerOf(ctx context.Context) *Caller {
	if c, ok := ctx.Value(callerKey{}).(*Caller); ok {
		return c
	}
	return &Caller{Role: Nobody}
}
