package link

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"time"

	"github.com/x0a1b/promptmq/broker/trouble"
)

// watchEvery is how often the files of listeners with TLS are looked at.
const watchEvery = time.Second

// files are those of c, in no order that matters.
func (c *TLSConfig) files() []string {
	var names []string
	for _, name := range []string{c.CertFile, c.KeyFile, c.ClientCAFile, c.CRLFile} {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

// A fileState is what tells whether a file has changed, wherever links lead.
type fileState struct {
	info os.FileInfo // nil: it cannot be read
	sum  [sha256.Size]byte
}

// settled is how old a file must be for its time and size to tell that it is the same.
const settled = 3 * time.Second

// look returns the state of a file; it is read only if it may have changed.
func look(name string, before fileState) fileState {
	info, err := os.Stat(name)
	if err != nil {
		return fileState{}
	}
	if b := before.info; b != nil && os.SameFile(b, info) && b.Size() == info.Size() && b.ModTime().Equal(info.ModTime()) &&
		time.Since(info.ModTime()) > settled {
		return before
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return fileState{}
	}
	return fileState{info, sha256.Sum256(content)}
}

// A watched is a listener whose files are watched. It is owned by the goroutine of watch.
type watched struct {
	l      *Listener
	have   *credentials
	states map[string]fileState
	tried  sums   // what was taken over, or could not be
	failed string // why not; "": it was
	said   bool   // the log has it
}

// changed looks at the files and reports whether their contents are others than those that
// were tried last.
func (w *watched) changed() bool {
	if k := w.l.credentials.Load(); k != w.have {
		w.have, w.tried, w.failed = k, k.sums, ""
	}
	states, now := make(map[string]fileState), make(sums)
	for _, name := range w.l.config.Load().TLS.files() {
		states[name] = look(name, w.states[name])
		now[name] = states[name].sum
	}
	w.states = states
	if maps.Equal(now, w.tried) {
		return false
	}
	w.tried = now
	return true
}

// watch takes over changed files of listeners with TLS until stop is closed. What cannot be
// taken over is tried again when it has changed again; the log has it when it is still so the
// next time that it is looked at, since files change one after the other.
func (n *Network) watch(stop <-chan struct{}) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	all := make(map[*Listener]*watched)
	for {
		for _, l := range n.Listeners() {
			if !l.kind.secure {
				continue
			}
			w := all[l]
			if w == nil {
				w = &watched{l: l}
				all[l] = w
			}
			n.takeChanged(w)
		}
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
	}
}

func (n *Network) takeChanged(w *watched) {
	if !w.changed() {
		if w.failed != "" && !w.said {
			w.said = true
			n.c.Log.Error("changed files of a listener with TLS cannot be taken over: it goes on with the old ones", trouble.TLSFiles, "listener", w.l.String(), "error", w.failed)
		}
		return
	}
	k, err := loadCredentials(w.l.config.Load().TLS, n.c.Now)
	if err != nil {
		n.c.Metrics.CertificateLoads(w.l.String(), "error").Inc()
		w.failed, w.said = err.Error(), w.said && w.failed == err.Error()
		return
	}
	w.l.take(k)
}

// take has new handshakes use k.
func (l *Listener) take(k *credentials) {
	n := l.network
	n.c.Metrics.CertificateLoads(l.String(), "ok").Inc()
	l.credentials.Store(k)
	n.c.Log.Info("the files of a listener with TLS were taken over", "listener", l.String(), "certificate", k.certificate.Subject.String(),
		"expires", k.certificate.NotAfter)
	k.warn(l)
}

// warn logs what lets nobody in though it was read without an error.
func (k *credentials) warn(l *Listener) {
	log, now := l.network.c.Log, k.now()
	if now.After(k.certificate.NotAfter) {
		log.Warn("the certificate has expired", trouble.CertificateExpired, "listener", l.String(), "certificate", k.certificate.Subject.String(), "expires", k.certificate.NotAfter)
	}
	for _, r := range k.revocations {
		if !r.NextUpdate.IsZero() && now.After(r.NextUpdate) {
			log.Warn("a revocation list is past its date: no certificate of its issuer is accepted", trouble.RevocationListExpired, "listener", l.String(), "issuer", r.Issuer.String(),
				"next_update", r.NextUpdate)
		}
	}
}

// ReloadCertificates reads the files of all listeners with TLS now, and takes them over if
// there is nothing wrong with any of them. Else nothing changes; the error names them.
func (n *Network) ReloadCertificates() error {
	take, err := n.LoadCertificates()
	if err == nil {
		take()
	}
	return err
}

// LoadCertificates reads the files of all listeners with TLS, and returns what takes them
// over. An error names all that are bad.
func (n *Network) LoadCertificates() (take func(), err error) {
	var errs []error
	loaded := make(map[*Listener]*credentials)
	for _, l := range n.Listeners() {
		if !l.kind.secure {
			continue
		}
		k, err := loadCredentials(l.config.Load().TLS, n.c.Now)
		if err != nil {
			errs = append(errs, fmt.Errorf("listener %q: %w", l.String(), err))
			continue
		}
		loaded[l] = k
	}
	return func() {
		for l, k := range loaded {
			l.take(k)
		}
	}, errors.Join(errs...)
}
