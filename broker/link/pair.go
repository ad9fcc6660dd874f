package link

import (
	"crypto/tls"
	"log/slog"
	"maps"
	"sync/atomic"
	"time"

	"github.com/x0a1b/promptmq/broker/trouble"
)

// A Pair is a certificate and its key for a listener that is none of MQTT. Changed files are
// taken over while it is open, as those of listeners are.
type Pair struct {
	c       TLSConfig
	log     *slog.Logger
	have    atomic.Pointer[credentials]
	stop    chan struct{}
	stopped chan struct{}
}

// OpenPair reads the files. What becomes of later ones is logged with listener as its name.
func OpenPair(certFile, keyFile string, log *slog.Logger, listener string) (*Pair, error) {
	p := &Pair{c: TLSConfig{CertFile: certFile, KeyFile: keyFile}, log: log.With("listener", listener), stop: make(chan struct{}), stopped: make(chan struct{})}
	k, err := loadCredentials(&p.c, time.Now)
	if err != nil {
		return nil, err
	}
	p.have.Store(k)
	go p.watch()
	return p, nil
}

// CheckPair reads the files and says what is wrong with them.
func CheckPair(certFile, keyFile string) error {
	_, err := loadCredentials(&TLSConfig{CertFile: certFile, KeyFile: keyFile}, time.Now)
	return err
}

// Config returns the settings of a server that shows the certificate, the newest one to each
// new connection.
func (p *Pair) Config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return &p.have.Load().config.Certificates[0], nil
	}}
}

// Close stops looking at the files.
func (p *Pair) Close() {
	close(p.stop)
	<-p.stopped
}

func (p *Pair) watch() {
	defer close(p.stopped)
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	states, tried, said := make(map[string]fileState), p.have.Load().sums, ""
	for {
		select {
		case <-p.stop:
			return
		case <-ticker.C:
		}
		now := make(sums)
		for _, name := range p.c.files() {
			states[name] = look(name, states[name])
			now[name] = states[name].sum
		}
		if maps.Equal(now, tried) {
			continue
		}
		k, err := loadCredentials(&p.c, time.Now)
		if err != nil { // the files change one after the other: what is wrong is tried again
			if said != err.Error() {
				said = err.Error()
				p.log.Error("changed files of a listener with TLS cannot be taken over: it goes on with the old ones", trouble.TLSFiles, "error", err)
			}
			continue
		}
		tried, said = k.sums, ""
		p.have.Store(k)
		p.log.Info("the files of a listener with TLS were taken over", "certificate", k.certificate.Subject.String(), "expires", k.certificate.NotAfter)
	}
}
