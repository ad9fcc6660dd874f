package access

import (
	"crypto/x509"
	"net/netip"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// An Identity is who a Client is taken for. It does not change once it is given out.
type Identity struct {
	User   string   // the user name; "": anonymous
	Groups []string // that the user is in
	Method Method
	// Rules come before those of the Policy, as from the claims of a token. nil: nothing was
	// said of what it may do; a list without any is a list, by which nothing is allowed.
	Rules []Rule
	// Until is when the Identity ends, and the Network Connection with it; zero: never.
	Until time.Time
}

// A Method is the way in which a Client proved who it is.
type Method string

// The Methods.
const (
	ByNobody      Method = "anonymous"
	ByPassword    Method = "password"
	ByCertificate Method = "certificate"
	ByToken       Method = "token"
	BySCRAM       Method = "scram"
	ByCallback    Method = "http"
)

// An Attempt is what a CONNECT says of who its Client is, and what is known of the Network
// Connection that it came over. Its slices belong to the caller.
type Attempt struct {
	ClientID    string
	User        string
	Password    []byte
	HasUser     bool
	HasPassword bool
	// Address is where the Client is, as a trusted proxy says if there is one; the zero
	// Addr: there is none, as over a Unix socket.
	Address  netip.Addr
	Listener string // its name
	// MayBeNobody says that the listener and the settings admit a Client without credentials.
	MayBeNobody bool
	// Certificate is the verified one of the peer, CertificateUser the name that the
	// listener takes from it; nil and "": none.
	Certificate     *x509.Certificate
	CertificateUser string
}

// A Refusal is why a Client is not let in, or an Identity ends. Cause names it in metrics and
// log lines, of which there are few; Detail is for the log of the operator, never for the
// Client, and has no secret in it.
type Refusal struct {
	Reason codec.ReasonCode
	Cause  string
	Detail string
}

// Error implements error.
func (r *Refusal) Error() string { return r.Cause + ": " + r.Detail }
