package link

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Update returns what gives the open listeners other settings, for new connections, with the
// files of those with TLS read again, and which settings need a restart: these stay as they
// are. An error says what is bad; then there is nothing to take.
func (n *Network) Update(list []ListenerConfig) (take func(), restart []string, err error) {
	var errs []error
	var takes []func()
	left := n.Listeners()
	for i := range list {
		c := list[i]
		errs = append(errs, c.check())
		at := slices.IndexFunc(left, func(l *Listener) bool { return l.String() == c.Name })
		if at < 0 {
			restart = append(restart, c.Key)
			continue
		}
		l := left[at]
		left = slices.Delete(left, at, at+1)
		restart = append(restart, l.keep(&c)...)
		take, err := l.update(&c)
		errs, takes = append(errs, err), append(takes, take)
	}
	for _, l := range left {
		restart = append(restart, l.config.Load().Key) // it stays open
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, err
	}
	return func() {
		for _, take := range takes {
			take()
		}
	}, restart, nil
}

// keep gives c what an open listener cannot change, and names what that was.
func (l *Listener) keep(c *ListenerConfig) (restart []string) {
	is := l.config.Load()
	for _, fixed := range []struct {
		key  string
		same bool
	}{
		{"kind", is.Kind == c.Kind}, {"address", is.Address == c.Address}, {"proxy-protocol", is.ProxyProtocol == c.ProxyProtocol}, {"mode", is.Mode == c.Mode},
	} {
		if !fixed.same {
			restart = append(restart, c.sibling(fixed.key))
		}
	}
	c.Address, c.ProxyProtocol, c.Mode = is.Address, is.ProxyProtocol, is.Mode
	if is.Kind != c.Kind {
		*c = *is
	}
	return restart
}

func (l *Listener) update(c *ListenerConfig) (take func(), err error) {
	if c.OriginsKey == "" {
		c.OriginsKey = c.sibling("origins")
	}
	if !l.kind.secure || c.TLS == nil {
		return func() { l.config.Store(c) }, nil
	}
	k, err := loadCredentials(c.TLS, l.network.c.Now)
	if err != nil {
		return nil, fmt.Errorf("listener %q: %w", c.Name, err)
	}
	return func() {
		l.config.Store(c)
		l.take(k)
	}, nil
}

// sibling is another setting of the listener, for people.
func (c *ListenerConfig) sibling(key string) string {
	if parent, ok := strings.CutSuffix(c.Key, ".address"); ok {
		return parent + "." + key
	}
	return c.Key
}

// check says what is wrong with the settings of a listener by themselves.
func (c *ListenerConfig) check() error {
	k := kinds[c.Kind]
	switch {
	case k == nil:
		return fmt.Errorf("%s: there is no kind %q of listeners", c.Key, c.Kind)
	case c.Name == "":
		return fmt.Errorf("%s: a listener needs a name", c.Key)
	case k.secure && c.TLS == nil:
		return fmt.Errorf("%s: a listener of kind %s needs a certificate and a key", c.Key, c.Kind)
	case c.ForwardedFor && !k.layered:
		return fmt.Errorf("%s: listener %q: X-Forwarded-For is for the kinds ws and wss", c.Key, c.Name)
	case c.ProxyProtocol && c.Kind == KindUnix:
		return fmt.Errorf("%s: listener %q: the PROXY protocol is not for the kind unix", c.Key, c.Name)
	case (c.ForwardedFor || c.ProxyProtocol) && len(c.TrustedProxies) == 0:
		return fmt.Errorf("%s: listener %q: there are no trusted proxies", c.Key, c.Name)
	}
	return nil
}

// CheckFiles reads the files of a listener that need not be open. Its error names the one that
// is bad.
func (c *ListenerConfig) CheckFiles() error {
	if c.TLS == nil {
		return nil
	}
	_, err := loadCredentials(c.TLS, time.Now)
	return err
}
