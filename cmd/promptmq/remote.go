package main

import (
	"bytes"
	"crypto/x509"
	"os"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/config"
)

// A remote is where a broker is that runs elsewhere, and what is shown to it.
type remote struct {
	URL       string `name:"url" placeholder:"URL" xor:"place" help:"A broker elsewhere, https://host:port as its admin.bind says. Default: $$PROMPTMQ_URL, if there is no --data-dir."`
	Token     string `placeholder:"TOKEN" xor:"token" help:"Token for that broker. Others on this machine can see it here, and not in --token-file or $$PROMPTMQ_TOKEN."`
	TokenFile string `placeholder:"FILE" xor:"token" help:"File with the token."`
	CAFile    string `name:"ca-file" placeholder:"FILE" help:"PEM file with the authorities that the certificate of that broker may be from. Default: those of this system."`
}

// tokenBytesMax is more than any token has.
const tokenBytesMax = 64 << 10

// elsewhere returns the broker at the URL that is said, nil if none is. local: the
// environment does not count.
func (r *remote) elsewhere(local bool) (*administered, error) {
	address := r.URL
	if address == "" && !local {
		address = os.Getenv(config.URLVariable)
	}
	if address == "" {
		if r.Token != "" || r.TokenFile != "" || r.CAFile != "" {
			return nil, admin.Refuse("--token, --token-file and --ca-file are for a broker elsewhere: say --url too")
		}
		return nil, nil
	}
	token, err := r.token()
	if err != nil {
		return nil, err
	}
	roots, err := r.roots()
	if err != nil {
		return nil, err
	}
	client, err := admin.Remote(address, token, roots)
	if err != nil {
		return nil, err
	}
	return &administered{client, address, true, func() error { return nil }}, nil
}

func (r *remote) token() (string, error) {
	switch {
	case r.Token != "":
		return r.Token, nil
	case r.TokenFile == "":
		return os.Getenv(config.TokenVariable), nil
	}
	text, err := os.ReadFile(r.TokenFile)
	if err != nil {
		return "", admin.Refuse("--token-file: %v", err)
	}
	text = bytes.TrimSpace(text)
	if len(text) == 0 || len(text) > tokenBytesMax || bytes.ContainsAny(text, "\r\n\t ") {
		return "", admin.Refuse("%s: a file with a token has one line, which is the token", r.TokenFile)
	}
	return string(text), nil
}

func (r *remote) roots() (*x509.CertPool, error) {
	if r.CAFile == "" {
		return nil, nil
	}
	text, err := os.ReadFile(r.CAFile)
	if err != nil {
		return nil, admin.Refuse("--ca-file: %v", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, admin.Refuse("%s has no certificate in PEM", r.CAFile)
	}
	return roots, nil
}
