package broker

import "github.com/x0a1b/promptmq/broker/lock"

// A registry finds the Client of a Client Identifier.
type registry struct {
	mu        lock.Mutex[lock.Registry] // guards the following; taken before any Client's lock
	clients   map[string]*Client
	lastOrder uint64
}

// acquire returns the Client, made if there is none, with its lock held.
func (r *registry) acquire(b *Broker, id string) *Client {
	for {
		r.mu.Lock()
		cl := r.clients[id]
		if cl == nil {
			r.lastOrder++
			cl = &Client{b: b, id: id, order: r.lastOrder}
			cl.self.client = cl
			r.clients[id] = cl
		}
		r.mu.Unlock()
		cl.mu.Lock()
		if !cl.gone {
			return cl
		}
		cl.mu.Unlock() // removed since it was found
	}
}

// remove forgets a Client that is not used.
func (r *registry) remove(cl *Client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.unusedLocked() && !cl.gone {
		cl.gone = true
		delete(r.clients, cl.id)
	}
}

// all returns every Client.
func (r *registry) all() []*Client {
	r.mu.Lock()
	defer r.mu.Unlock()
	clients := make([]*Client, 0, len(r.clients))
	for _, cl := range r.clients {
		clients = append(clients, cl)
	}
	return clients
}

// find returns the Client; nil: the Client Identifier is not in use.
func (r *registry) find(id string) *Client {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.clients[id]
}

// has reports whether the Client Identifier is in use.
func (r *registry) has(id string) bool { return r.find(id) != nil }
