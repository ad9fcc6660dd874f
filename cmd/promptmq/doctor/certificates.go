package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/config"
)

const aboutCertificates, aboutSecrets = "certificates", "secrets"

// renewWithin is how long before its end a certificate should be followed by another.
const renewWithin = 30 * 24 * time.Hour

// certificates looks at those of listeners. That they can be read, and fit their keys, is looked at
// with the files of the configuration.
func (e *Examination) certificates() {
	seen := make(map[string]bool)
	for _, l := range e.listeners() {
		if l.tls != nil && l.tls.CRLFile != "" && !seen[l.tls.CRLFile] {
			seen[l.tls.CRLFile] = true
			e.revocations(l.tls.CRLFile)
		}
		if l.tls == nil || seen[l.tls.CertFile] {
			continue
		}
		seen[l.tls.CertFile] = true
		pair, err := tls.LoadX509KeyPair(config.Absolute(l.tls.CertFile), config.Absolute(l.tls.KeyFile))
		if err == nil {
			e.certificate(l.tls.CertFile, &pair)
			e.private(l.tls.KeyFile)
		}
	}
}

// revocations looks at the dates of revocation lists.
func (e *Examination) revocations(file string) {
	text, err := os.ReadFile(config.Absolute(file))
	if err != nil {
		return // that is told with the files of the configuration
	}
	lists, _ := link.ParseRevocations(text) // and so is this
	for _, r := range lists {
		const renew = "put a new list in its place: the broker takes it over by itself"
		left := time.Until(r.NextUpdate)
		switch {
		case r.NextUpdate.IsZero():
			e.say(OK, aboutCertificates, "", "%s: the list of %s has no date at which another follows", file, r.Issuer)
		case left < 0:
			e.say(Fault, aboutCertificates, renew, "%s: the list of %s ended on %s: no client certificate of it is accepted", file, r.Issuer, r.NextUpdate.Format(time.RFC3339))
		case left < r.NextUpdate.Sub(r.ThisUpdate)/10:
			e.say(Warning, aboutCertificates, renew, "%s: the list of %s ends on %s, and then no client certificate of it is accepted", file, r.Issuer, r.NextUpdate.Format(time.RFC3339))
		default:
			e.say(OK, aboutCertificates, "", "%s: the list of %s is good until %s", file, r.Issuer, r.NextUpdate.Format(time.RFC3339))
		}
	}
}

func (e *Examination) certificate(file string, pair *tls.Certificate) {
	c, now := pair.Leaf, time.Now()
	day := func(t time.Time) string { return t.Format(time.DateOnly) }
	sound := true
	say := func(level Level, do, what string, args ...any) {
		sound = false
		e.say(level, aboutCertificates, do, "%s "+what, append([]any{file}, args...)...)
	}
	const renew = "put a new one in its place (promptmq cert self-signed makes one): the broker takes it over by itself"
	switch {
	case now.After(c.NotAfter):
		say(Fault, renew, "ended on %s: no client trusts it", day(c.NotAfter))
	case now.Before(c.NotBefore):
		say(Fault, "set the clock, or wait", "is good from %s on", day(c.NotBefore))
	case c.NotAfter.Sub(now) < renewWithin:
		say(Warning, renew, "ends on %s", day(c.NotAfter))
	}
	if len(c.DNSNames)+len(c.IPAddresses)+len(c.URIs) == 0 {
		say(Warning, "make one with a subject alternative name: clients do not look at the common name", "has no name that clients compare")
	}
	between := x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		if issuer, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(issuer)
		}
	}
	trust := "this machine trusts it"
	if _, err := c.Verify(x509.VerifyOptions{Intermediates: between, CurrentTime: c.NotBefore.Add(time.Second)}); err != nil {
		trust = "clients have to be given the authority " + c.Issuer.String()
	}
	if sound {
		e.say(OK, aboutCertificates, "", "%s is good until %s for %s; %s", file, day(c.NotAfter), strings.Join(namesOf(c), ", "), trust)
	}
}

func namesOf(c *x509.Certificate) []string {
	names := append([]string{}, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// secrets looks at who can read the files that have some.
func (e *Examination) secrets() {
	for _, file := range []string{e.Config.Login.PasswordFile, e.Config.Tokens.SecretFile, e.Config.Admin.TokensFile} {
		if file != "" {
			e.private(file)
		}
	}
}

// private warns of a file that everybody can read.
func (e *Examination) private(file string) {
	info, err := os.Stat(config.Absolute(file))
	if err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o007 != 0 {
		e.say(Warning, aboutSecrets, "chmod 600 "+file+", or 640 with the group of the broker", "every user of this machine can get at %s (mode %v)", file, info.Mode().Perm())
	}
}
