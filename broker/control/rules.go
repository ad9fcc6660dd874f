// Package control lets a build with the tag "control" break one rule of the
// broker on purpose. Such a build exists only to show that the tests notice:
// durability tests and the conformance suite have controls that must fail. In a
// build without the tag every function here is empty, and the compiler removes
// what it guards.
package control

// A Rule is what a build can break. BREAK_RULES, a list with commas, names the
// rules that a process breaks.
type Rule string

// Durability: what leaves before, or without, what must be on disk.
const (
	AckBeforeCommit      Rule = "ack-before-commit"
	AckAtDelivery        Rule = "ack-at-delivery"
	BusyTaken            Rule = "busy-taken"
	ConnackBeforeCommit  Rule = "connack-before-commit"
	PubcompBeforeRemoval Rule = "pubcomp-before-removal"
	PubrelBeforeCommit   Rule = "pubrel-before-commit"
	QoS1BeforeCommit     Rule = "qos1-before-commit"
	QoS2BeforeCommit     Rule = "qos2-before-commit"
	IdentifierNotDurable Rule = "identifier-not-durable"
	OwedNotStored        Rule = "owed-not-stored"
	OwedProgressLost     Rule = "owed-progress-lost"
	WillNotKept          Rule = "will-not-kept"
)

// The protocol: what a Client can see.
const (
	AliasAhead                  Rule = "alias-ahead"
	AliasInvented               Rule = "alias-invented"
	AliasNotReset               Rule = "alias-not-reset"
	AuthenticationMethodLost    Rule = "authentication-method-lost"
	CleanStartIgnored           Rule = "clean-start-ignored"
	DollarMatched               Rule = "dollar-matched"
	DupInvented                 Rule = "dup-invented"
	DupLost                     Rule = "dup-lost"
	ExpiryNotCountedDown        Rule = "expiry-not-counted-down"
	IdentifierInUseIgnored      Rule = "identifier-in-use-ignored"
	KeepAliveIgnored            Rule = "keep-alive-ignored"
	LimitOfBadConnectIgnored    Rule = "limit-of-bad-connect-ignored"
	MaximumPacketSizeIgnored    Rule = "maximum-packet-size-ignored"
	MaximumQoSNotTold           Rule = "maximum-qos-not-told"
	OwnerIgnored                Rule = "owner-ignored"
	NoLocalIgnored              Rule = "no-local-ignored"
	PacketIdentifierInUse       Rule = "packet-identifier-in-use"
	PropertiesLost              Rule = "properties-lost"
	QoSNotLowered               Rule = "qos-not-lowered"
	QoS2Twice                   Rule = "qos2-twice"
	ReasonStringUnasked         Rule = "reason-string-unasked"
	ReauthenticationNotNeeded   Rule = "reauthentication-not-needed"
	ReceiveMaximumIgnored       Rule = "receive-maximum-ignored"
	RetainHandlingIgnored       Rule = "retain-handling-ignored"
	RetainInvented              Rule = "retain-invented"
	RetainLost                  Rule = "retain-lost"
	RetainedNotRemoved          Rule = "retained-not-removed"
	RetainedTwice               Rule = "retained-twice"
	ReturnCodeInvented          Rule = "return-code-invented"
	SecondConnectIgnored        Rule = "second-connect-ignored"
	SessionExpiryIgnored        Rule = "session-expiry-ignored"
	SessionPresentLost          Rule = "session-present-lost"
	SharedToAll                 Rule = "shared-to-all"
	SubackOutOfOrder            Rule = "suback-out-of-order"
	SubscriptionIdentifierLost  Rule = "subscription-identifier-lost"
	TakeoverReason              Rule = "takeover-reason"
	UnsubackAlwaysSuccess       Rule = "unsuback-always-success"
	UnsubscribeIgnored          Rule = "unsubscribe-ignored"
	WillAfterDisconnect         Rule = "will-after-disconnect"
	WillDelayIgnored            Rule = "will-delay-ignored"
	WillLost                    Rule = "will-lost"
	WrongAcknowledgementIgnored Rule = "wrong-acknowledgement-ignored"
	WrongPacketIdentifier       Rule = "wrong-packet-identifier"
)

// Permission: the paths on which nobody asks what a Client may do. See NotAsked.
const (
	NotAskedPublish       Rule = "not-asked-publish"
	NotAskedSubscribe     Rule = "not-asked-subscribe"
	NotAskedWillAtConnect Rule = "not-asked-will-at-connect"
	NotAskedWillAtEnd     Rule = "not-asked-will-at-end"
	NotAskedLive          Rule = "not-asked-live"
	NotAskedWill          Rule = "not-asked-will"
	NotAskedRetained      Rule = "not-asked-retained"
	NotAskedHandedOver    Rule = "not-asked-handed-over"
	NotAskedQueued        Rule = "not-asked-queued"
	NotAskedResumed       Rule = "not-asked-resumed"
	NotAskedShared        Rule = "not-asked-shared"
)

// What an operator has changed of users and rules.
const (
	AccountsNotApplied Rule = "accounts-not-applied"
)

// Who is let in.
const (
	PasswordUnchecked Rule = "password-unchecked"
	GuessesUnlimited  Rule = "guesses-unlimited"
)

// What is kept for the broker itself.
const (
	FilesNotKept Rule = "files-not-kept"
)

// The clock.
const (
	ClockForgotten Rule = "clock-forgotten"
	ClockSet       Rule = "clock-set"
	ClockSetLater  Rule = "clock-set-later"
	JumpCounted    Rule = "jump-counted"
	WallClock      Rule = "wall-clock"
)

// What takes its time, or does not let go. These break no rule.
const (
	AcceptKept  Rule = "accept-kept"
	CommitLate  Rule = "commit-late"
	GateKept    Rule = "gate-kept"
	RefusalLate Rule = "refusal-late"
	StalledSoon Rule = "stalled-soon"
	WillLate    Rule = "will-late"
)

// Panics in the middle of something.
const (
	PanicInAcknowledgement Rule = "panic-in-acknowledgement"
	PanicInCleanup         Rule = "panic-in-cleanup"
	PanicInCommit          Rule = "panic-in-commit"
	PanicInDeliver         Rule = "panic-in-deliver"
	PanicInDetach          Rule = "panic-in-detach"
	PanicInExpiry          Rule = "panic-in-expiry"
	PanicInFeed            Rule = "panic-in-feed"
	PanicInHandOver        Rule = "panic-in-hand-over"
	PanicInPage            Rule = "panic-in-page"
	PanicInRetain          Rule = "panic-in-retain"
	PanicInRetainedExpiry  Rule = "panic-in-retained-expiry"
	PanicInSubscribe       Rule = "panic-in-subscribe"
	PanicInTakeover        Rule = "panic-in-takeover"
	PanicInUnsubscribe     Rule = "panic-in-unsubscribe"
	PanicInWill            Rule = "panic-in-will"
	PanicInWrite           Rule = "panic-in-write"
	PanicOnPublish         Rule = "panic-on-publish"
)
