package broker

// options are the Options that hold now. Those that SetOptions does not take over are as
// in b.o.
func (b *Broker) options() *Options { return b.live.Load() }

// SetOptions takes over what may change while the Broker runs: who comes without
// credentials, the limits of what is not promised to Clients, and Limits but for Memory, timeouts of reads, and when
// cleanups are. It is for the next packet, CONNECT or cleanup: what is beyond a new limit
// stays. The other Options remain as they were. One goroutine at a time calls it.
func (b *Broker) SetOptions(o Options) {
	now := *b.options()
	now.AllowAnonymous = o.AllowAnonymous
	now.ReadTimeout, now.ReadRateMin = o.ReadTimeout, o.ReadRateMin
	now.ShutdownNotice, now.ShutdownRate = o.ShutdownNotice, o.ShutdownRate
	now.KeepAliveSeconds = o.KeepAliveSeconds
	now.MaxSubscriptions, now.MaxSessions = o.MaxSubscriptions, o.MaxSessions
	now.MaxSessionExpirySeconds = o.MaxSessionExpirySeconds
	now.MaxRetainedMessages, now.MaxRetainedBytes = o.MaxRetainedMessages, o.MaxRetainedBytes
	now.CleanupInterval, now.CleanupBatch, now.MaxMessageAge = o.CleanupInterval, o.CleanupBatch, o.MaxMessageAge
	now.MaxUserProperties, now.SysInterval = o.MaxUserProperties, o.SysInterval
	o.Limits.Memory = now.Limits.Memory
	now.Limits = o.Limits
	b.live.Store(&now)
	b.network.SetFilesBeside(o.FilesBeside)
	b.network.SetRates(now.Limits.ConnectionRate, now.Limits.ConnectionRatePerAddress)
}
