package login

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// CheckURL says why a URL must not be asked who a Client is: what is said there has to be
// protected on its way.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "":
		return errors.New("it is no URL with a host") // what err says repeats the URL, which may have a password
	case u.User != nil:
		return errors.New("a URL with credentials in it; they would be seen in many places")
	case u.Scheme == "https":
		return nil
	case u.Scheme != "http":
		return errors.New("its scheme must be https, or http to this machine")
	}
	if a, err := netip.ParseAddr(u.Hostname()); u.Hostname() != "localhost" && (err != nil || !a.IsLoopback()) {
		return errors.New("http is for this machine only: localhost, 127.0.0.1 or [::1]; others need https")
	}
	return nil
}

// newWebClient returns a client that follows no redirects and goes through no proxy. caFile,
// the setting caKey, has the authorities that it trusts, in PEM; "": those of the system.
func newWebClient(caKey, caFile string, connectionsMax int) (*http.Client, *SettingError) {
	transport := &http.Transport{
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    10 * time.Second,
		MaxConnsPerHost:        connectionsMax,
		MaxIdleConnsPerHost:    connectionsMax,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
	}
	if caFile != "" {
		pool, fault := readSetting(caKey, caFile, "a file with the certificates of authorities in PEM", parseAuthorities)
		if fault != nil {
			return nil, fault
		}
		transport.TLSClientConfig.RootCAs = pool
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

func parseAuthorities(text []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New("it has no certificate that can be read")
	}
	return pool, nil
}

// withoutURL is err without the URL, whose path or query may have a secret.
func withoutURL(err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}
