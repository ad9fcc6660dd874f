package link

import "time"

const (
	// paceEvery is how many sockets an acceptor accepts without letting others go first.
	paceEvery = 4
	// Where messages have to wait for restFrom an acceptor rests for restShare times as long, and
	// restMax at most: who connects waits behind all that were not accepted meanwhile.
	restFrom  = time.Millisecond
	restShare = 2
	restMax   = 5 * time.Millisecond
)

// A pace has messages go before new connections while the processors have no time for all:
// what is too much waits to be accepted.
//
// The runtime asks what has come from the network when no goroutine is ready, or else every
// 10 ms. Where more connect than can be served one always is, and each message waits for so
// long. So an acceptor lets the runtime ask after every few sockets. How long that takes is how
// long a message has to wait now, and if that is long, and there are messages, it accepts nothing
// for a while. It does not slow down who connects while nothing else happens.
type pace struct {
	accepted int    // since the last turn
	messages uint64 // that had come then
}

// keep is called before each socket that is accepted.
func (p *pace) keep(n *Network) {
	if p.accepted++; p.accepted < paceEvery {
		return
	}
	p.accepted = 0
	began := time.Now()
	n.turns.take()
	if d := p.rest(time.Since(began), n.messages()); d > 0 {
		time.Sleep(d)
	}
}

// rest is for how long to accept nothing after a turn that took so long, when so many messages
// have come.
func (p *pace) rest(took time.Duration, messages uint64) time.Duration {
	if messages == p.messages {
		return 0
	}
	p.messages = messages
	if took < restFrom {
		return 0
	}
	return min(restShare*took, restMax)
}

// messages is how many have come since the start.
func (n *Network) messages() (all uint64) {
	for _, c := range n.c.Metrics.MessagesReceived {
		all += c.Get()
	}
	return all
}
