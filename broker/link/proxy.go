package link

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	proxyproto "github.com/pires/go-proxyproto"
)

// The sizes of headers of the PROXY protocol: proxyV1Max is from its specification, and
// proxyV2Max leaves room for 4 KB of what this Server does not use.
const (
	proxyV1Max  = 107
	proxyV2Head = 16
	proxyV2Max  = proxyV2Head + 4096
)

// errNoProxyHeader is for who begins with something else.
var errNoProxyHeader = errors.New("the connection does not begin with a header of the PROXY protocol")

// trusts reports whether a is that of a trusted proxy.
func (c *ListenerConfig) trusts(a netip.Addr) bool {
	return slices.ContainsFunc(c.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

// readOrigin reads the header with which a proxy says where a connection comes from, and
// nothing after it. An error says why the connection is to be closed.
func (l *Listener) readOrigin(s *socket) (reason string, err error) {
	if from := addressOf(s.netSocket.RemoteAddr()); !l.config.Load().trusts(from) {
		return "untrusted proxy", fmt.Errorf("%v is none of the trusted proxies of the listener", from)
	}
	if err := s.SetReadDeadline(time.Now().Add(l.network.c.ConnectTimeout)); err != nil {
		return "no PROXY header", err
	}
	h, err := parseProxyHeader(s.netSocket)
	switch {
	case errors.As(err, new(badProxyHeader)):
		return "bad PROXY header", err
	case err != nil:
		return "no PROXY header", err
	}
	if a, ok := h.SourceAddr.(*net.TCPAddr); ok && !h.Command.IsLocal() {
		s.origin.Store(a)
	}
	return "no PROXY header", s.SetReadDeadline(time.Time{})
}

// A badProxyHeader is one that makes no sense.
type badProxyHeader struct{ error }

// parseProxyHeader reads a header and nothing after it.
func parseProxyHeader(r io.Reader) (*proxyproto.Header, error) {
	b, err := readProxyHeader(r)
	if err != nil {
		return nil, err
	}
	h, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(b), len(b)))
	if err != nil {
		return nil, badProxyHeader{err}
	}
	return h, nil
}

// readProxyHeader reads a header of either version as it is. One byte at a time where its
// length is not known: what follows belongs to others.
func readProxyHeader(r io.Reader) ([]byte, error) {
	b := make([]byte, len(proxyproto.SIGV1)+1, proxyV1Max)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(proxyproto.SIGV2, b):
		return readProxyV2(r, b)
	case string(b) != "PROXY ":
		return nil, errNoProxyHeader
	}
	for b[len(b)-1] != '\n' {
		if len(b) == proxyV1Max {
			return nil, proxyproto.ErrVersion1HeaderTooLong
		}
		b = b[:len(b)+1]
		if _, err := io.ReadFull(r, b[len(b)-1:]); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func readProxyV2(r io.Reader, begun []byte) ([]byte, error) {
	b := append(make([]byte, 0, proxyV2Max), begun...)
	if _, err := io.ReadFull(r, b[len(begun):proxyV2Head]); err != nil {
		return nil, err
	}
	b = b[:proxyV2Head]
	if !bytes.HasPrefix(b, proxyproto.SIGV2) {
		return nil, errNoProxyHeader
	}
	rest := int(binary.BigEndian.Uint16(b[proxyV2Head-2:]))
	if proxyV2Head+rest > proxyV2Max {
		return nil, fmt.Errorf("a header of the PROXY protocol of %d bytes: at most %d are taken", proxyV2Head+rest, proxyV2Max)
	}
	b = b[:proxyV2Head+rest]
	_, err := io.ReadFull(r, b[proxyV2Head:])
	return b, err
}

// forwards reports whether a request from an address may say where its Client is.
func (c *ListenerConfig) forwards(from netip.Addr) bool { return c.ForwardedFor && c.trusts(from) }

// forwardedFor returns where a request comes from by its header X-Forwarded-For: the last
// address that is not of a trusted proxy, for what stands before that can be made up. nil: the
// request does not come from a trusted proxy, or that says nothing.
func (c *ListenerConfig) forwardedFor(r *http.Request, from netip.Addr) (*net.TCPAddr, error) {
	if !c.forwards(from) {
		return nil, nil
	}
	var origin *net.TCPAddr
	hops := tokens(r.Header, "X-Forwarded-For")
	for _, hop := range slices.Backward(hops) {
		a, err := parseHop(hop)
		if err != nil {
			return nil, err
		}
		origin = net.TCPAddrFromAddrPort(a)
		if !c.trusts(a.Addr()) {
			break
		}
	}
	return origin, nil
}

// parseHop reads an address with or without a port, that of IPv6 with or without brackets.
func parseHop(hop string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddrPort(hop); err == nil {
		return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port()), nil
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(hop, "["), "]"))
	if err != nil {
		return netip.AddrPort{}, errors.New("X-Forwarded-For of a trusted proxy has something that is no IP address")
	}
	return netip.AddrPortFrom(a.Unmap().WithZone(""), 0), nil
}
