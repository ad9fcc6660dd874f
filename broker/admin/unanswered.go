package admin

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// whatToSay are hints for who got no answer of a broker elsewhere.
const (
	sayHTTPS = "this port speaks TLS: say https:// in the URL"
	sayHTTP  = "this port speaks no TLS: say http:// in the URL, which is taken on the machine of the broker only"
	sayCA    = "say with --ca-file which authorities to trust, a file in PEM, such as the ca.pem or cert.pem that promptmq cert self-signed made"
	sayToken = "say --token-file FILE, or set $PROMPTMQ_TOKEN"
)

// unanswered says why there was no answer, and what to do about it, without the path that was
// asked for: an operator knows nothing of it.
func (c *Client) unanswered(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	if !c.elsewhere {
		return err
	}
	switch {
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return fmt.Errorf("%s: %w: %s", c.base, err, sayCA)
	case errors.As(err, new(x509.HostnameError)):
		return fmt.Errorf("%s: %w: say a name in the URL that the certificate has", c.base, err)
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"): // net/http has no value for it
		return Refuse("%s: %s", c.base, sayHTTP)
	}
	return fmt.Errorf("%s: %w", c.base, err)
}

// refused adds what to do to what a broker elsewhere answered with that status. text is the body.
func (c *Client) refused(failed *Error, text []byte) error {
	if !c.elsewhere {
		return failed
	}
	switch {
	case failed.Status == http.StatusBadRequest && strings.Contains(string(text), "HTTP request to an HTTPS server"): // so says net/http
		failed.Text = c.base + ": " + sayHTTPS
	case failed.Status == http.StatusUnauthorized && c.token == "":
		failed.Text += ": " + sayToken
	case failed.Status == http.StatusUnauthorized:
		failed.Text += ": a token is what admin.tokens-file of the broker has behind the role and the colon"
	}
	return failed
}
