package admin

import "context"

// OnThisMachine reports whether who asks does so over the administration socket.
func OnThisMachine(ctx context.Context) bool {
	who := callerOf(ctx)
	return who.Name == "socket" && who.Address == ""
}
