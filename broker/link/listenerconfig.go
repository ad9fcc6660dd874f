package link

import (
	"io/fs"
	"net/netip"
	"time"
)

// The kinds of listeners, as ListenerConfig.Kind names them.
const (
	KindTCP  = "tcp"
	KindTLS  = "tls"
	KindWS   = "ws"
	KindWSS  = "wss"
	KindUnix = "unix"
)

// A ListenerConfig is one listener.
type ListenerConfig struct {
	Name string // in log lines and metrics; no two listeners have the same
	Kind string
	// Address is host:port; for KindUnix the path of the socket. Key is the setting that
	// has it, for errors.
	Address, Key string

	TLS *TLSConfig // for KindTLS and KindWSS

	// MaxConnections is the most Network Connections that it has at a time, beside the
	// limit for all; 0: that is the only one.
	MaxConnections int
	// Anonymous says whether it admits Clients without credentials.
	Anonymous Anonymous

	// ProxyProtocol says that every connection begins with a PROXY header, version 1 or 2.
	// It is taken from TrustedProxies only; connections from elsewhere are closed.
	ProxyProtocol bool
	// ForwardedFor says that X-Forwarded-For of requests from TrustedProxies names where
	// the Client is, for KindWS and KindWSS.
	ForwardedFor   bool
	TrustedProxies []netip.Prefix

	// For KindWS and KindWSS. Path is the only one that is answered; "": all are. Origins
	// says which pages may connect: SameOrigin, AnyOrigin, or patterns of hosts or origins
	// between commas; OriginsKey is the setting that has it, for errors. Subprotocols are those that are selected, the best first.
	// PingInterval is after which silence the Server sends a Ping frame; 0: never.
	Path         string
	Origins      string
	OriginsKey   string
	Subprotocols []string
	PingInterval time.Duration

	Mode fs.FileMode // of the socket of KindUnix
}

// Anonymous says who may come without credentials.
type Anonymous uint8

// The answers.
const (
	AnonymousDefault Anonymous = iota // as auth.allow-anonymous says: everybody, or who comes from this machine and through no proxy
	AnonymousNever
	AnonymousAlways
)

// A TLSConfig says where the files of a listener with TLS are, in PEM. They are watched, and
// taken over when they change.
type TLSConfig struct {
	CertFile, KeyFile string
	// ClientCAFile has the authorities whose client certificates are accepted, CRLFile their
	// revocation lists; "": none.
	ClientCAFile, CRLFile string
	ClientCert            ClientCert
	// UserFrom says what of a verified client certificate is the user name.
	UserFrom CertificateName
	// MinVersion is that of the TLS protocol, as crypto/tls counts.
	MinVersion uint16
	// HandshakeTimeout is how long a handshake may take.
	HandshakeTimeout time.Duration
}

// ClientCert says whether Clients show a certificate.
type ClientCert uint8

// The answers.
const (
	ClientCertNone ClientCert = iota
	ClientCertOptional
	ClientCertRequired
)

// A CertificateName is a part of a certificate that can be a user name.
type CertificateName string

// The parts: of the subject, and the first of each kind of Subject Alternative Name.
const (
	NameNone   CertificateName = "none" // the certificate only opens the connection
	NameCN     CertificateName = "cn"
	NameSerial CertificateName = "serial-number" // the attribute of the subject
	NameDNS    CertificateName = "san-dns"
	NameEmail  CertificateName = "san-email"
	NameURI    CertificateName = "san-uri"
)
