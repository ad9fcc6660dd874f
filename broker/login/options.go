package login

import (
	"runtime"
	"time"

	"github.com/x0a1b/promptmq/broker/access"
)

// Options are the settings of logins.
type Options struct {
	// PasswordFile is a Mosquitto password file; "": there is none.
	PasswordFile string
	// HashingWorkers is how many passwords are compared at once; 0: as many as half of the
	// processors, but one at least. HashingPlaces is how many may wait for it.
	HashingWorkers, HashingPlaces int
	// Remember is how long a password that was right is remembered, by a digest, so that
	// the same again takes no time; 0: it is not.
	Remember time.Duration
	Backoff  access.BackoffOptions
}

// DefaultOptions returns what holds when nothing is said.
func DefaultOptions() Options {
	return Options{
		HashingPlaces: 256,
		Remember:      time.Hour,
		Backoff:       access.BackoffOptions{WaitMax: time.Minute, BanAfter: 30, BanWindow: 10 * time.Minute, BanTime: 10 * time.Minute},
	}
}

// Workers is how many passwords are compared at once.
func (o *Options) Workers() int {
	if o.HashingWorkers > 0 {
		return o.HashingWorkers
	}
	return max(1, runtime.GOMAXPROCS(0)/2)
}
