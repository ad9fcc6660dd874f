// Package trouble has the codes of what can go wrong. A line of the log at WARN or above, and
// one of those at INFO that an operator may wonder about, has one as its attribute code;
// docs/troubleshooting.md has an entry with cause and cure under each.
package trouble

import (
	"log/slog"
	"strings"

	"github.com/x0a1b/promptmq/codec"
)

// What stops the broker or a command.
var (
	BrokerUnreachable    = code("broker-unreachable")
	CannotListen         = code("cannot-listen")
	CertificateUntrusted = code("certificate-untrusted")
	DataInUse            = code("data-in-use")
	DatabaseDamaged      = code("database-damaged")
	DatabaseForeign      = code("database-foreign")
	DatabaseNewer        = code("database-newer")
	Failure              = code("failure") // none of the others
	FileSystemUnfit      = code("file-system-unfit")
	FilesGone            = code("files-gone")
	NoBroker             = code("no-broker")
	NotEndedInTime       = code("not-ended-in-time")
	NotStored            = code("not-stored")
	PermissionDenied     = code("permission-denied")
	TLSMismatch          = code("tls-mismatch")
)

// The store.
var (
	BackupFailed    = code("backup-failed")
	ClockJumped     = code("clock-jumped")
	CommitFailed    = code("commit-failed")
	CommitStuck     = code("commit-stuck")
	DiskFull        = code("disk-full")
	FileMode        = code("file-mode")
	FileSystem      = code("file-system")
	QueueUnreadable = code("queue-unreadable")
	Salvaged        = code("salvaged")
	StoreBusy       = code("store-busy")
	StoreCleanUp    = code("store-clean-up")
	StoreFull       = code("store-full")
)

// The configuration, and the process.
var (
	ConnectionsLeft       = code("connections-left")
	CertificateExpired    = code("certificate-expired")
	KeySet                = code("key-set")
	LogLevelKept          = code("log-level-kept")
	LogLinesDropped       = code("log-lines-dropped")
	LoginCallback         = code("login-callback")
	MemoryShort           = code("memory-short")
	MemoryUnlimited       = code("memory-unlimited")
	NeedsRestart          = code("needs-restart")
	NoAnswer              = code("no-answer")
	NoRules               = code("no-rules")
	NoSocket              = code("no-socket")
	NotReloaded           = code("not-reloaded")
	NotUpgraded           = code("not-upgraded")
	SocketNotTaken        = code("socket-not-taken")
	OpenFiles             = code("open-files")
	OpenToEverybody       = code("open-to-everybody")
	Panic                 = code("panic")
	RevocationListExpired = code("revocation-list-expired")
	TLSFiles              = code("tls-files")
	Watchdog              = code("watchdog")
)

// Connections.
var (
	AcceptFailed       = code("accept-failed")
	AddressBanned      = code("address-banned")
	BackOff            = code("back-off")
	ClientIDShared     = code("client-id-shared")
	ClosedForMemory    = code("closed-for-memory")
	ConnectionRate     = code("connection-rate")
	ForeignProtocol    = code("foreign-protocol")
	HTTPPeer           = code("http-peer")
	ProxyHeader        = code("proxy-header")
	PublisherPaused    = code("publisher-paused")
	ReceiveMaximum     = code("receive-maximum")
	RequestCutOff      = code("request-cut-off")
	TLSHandshake       = code("tls-handshake")
	TakenOver          = code("taken-over")
	TooManyConnections = code("too-many-connections")
	WebSocketRefused   = code("websocket-refused")
	WriteTimeout       = code("write-timeout")
)

// Messages.
var (
	MessagesDropped     = code("messages-dropped")
	PublishDenied       = code("publish-denied")
	QueueFull           = code("queue-full")
	RetainedOfUser      = code("retained-of-user")
	SubscriptionRefused = code("subscription-refused")
	UserProperties      = code("user-properties")
	WillDenied          = code("will-denied")
	WillNotRetained     = code("will-not-retained")
)

func code(name string) slog.Attr { return slog.String("code", name) }

// Of returns the code of a connection that is closed, or of a CONNECT that is refused, with
// that reason: its name in the specification.
func Of(r codec.ReasonCode) slog.Attr {
	return code(strings.ReplaceAll(strings.ToLower(r.String()), " ", "-"))
}
