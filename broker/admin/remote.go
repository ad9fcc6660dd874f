package admin

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// Remote returns a Client of a broker at a URL, https://host:port, or http:// on this machine.
// token is shown to it, "" if it asks for none. roots are whom it may have its certificate
// from; nil: those of the system. What is no such URL is an *Error.
func Remote(address, token string, roots *x509.CertPool) (*Client, error) {
	u, err := parseAddress(address)
	if err != nil {
		return nil, err
	}
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DisableCompression: true, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
	}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // the token is for this address
	return &Client{http: http.Client{Transport: t, CheckRedirect: stay}, base: u.Scheme + "://" + u.Host, elsewhere: true, token: token}, nil
}

// parseAddress refuses what is no URL of a broker, without what may be a password in it.
func parseAddress(address string) (*url.URL, error) {
	const example = "https://broker.example:8443"
	if !strings.Contains(address, "://") && !strings.ContainsAny(address, "@/?#") {
		return nil, Refuse("the URL of the broker is such as %s: say https://%s", example, address)
	}
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return nil, Refuse("the URL of the broker is such as %s, and this is no URL: %v", example, errors.Unwrap(err))
	case u.Scheme != "https" && u.Scheme != "http", u.Host == "", u.User != nil, u.RawQuery != "", u.Fragment != "":
		return nil, Refuse("the URL of the broker is such as %s, not %s", example, u.Redacted())
	case u.Path != "" && u.Path != "/":
		return nil, Refuse("the URL of the broker is such as %s, without a path: say %s://%s", example, u.Scheme, u.Host)
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return nil, Refuse("%s: without TLS a token could be read on the way: use https, or http on the machine of the broker", u.Redacted())
	}
	return u, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Copy asks for an answer that may be long, and writes it to w as it comes.
func Copy(ctx context.Context, c *Client, path string, w io.Writer) error {
	resp, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("the broker gave half an answer: %w", err)
	}
	return nil
}

// EndEvent is the name of the last of a stream of events, which is an End; the others have none.
const EndEvent = "end"

// eventBytesMax bounds a line of server-sent events.
const eventBytesMax = 16 << 20

// Events asks for server-sent events, and calls each with the name and the data of one after
// the other, until the broker ends them, each returns an error, or ctx ends: that is no
// error. data is valid until each returns.
func Events(ctx context.Context, c *Client, path string, each func(name string, data []byte) error) error {
	resp, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, eventBytesMax)
	var name string
	var data []byte
	for lines.Scan() {
		field, value, _ := bytes.Cut(lines.Bytes(), []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			name = string(value)
		case "data":
			data = append(append(data, value...), '\n')
		case "":
			if len(lines.Bytes()) > 0 || len(data) == 0 { // a comment, or nothing
				break
			}
			if err := each(name, data); err != nil {
				return err
			}
			name, data = "", data[:0]
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return lines.Err()
}
