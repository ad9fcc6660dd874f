package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/config"
	"github.com/x0a1b/promptmq/store"
	"github.com/x0a1b/promptmq/terminal"
)

const (
	setupFile = "promptmq.yaml"
	setupCert = "certs" // directory of what is made for TLS
	// certDays is the longest that every client takes a certificate for.
	certDays    = 825
	pageAddress = "127.0.0.1:9092"
	plainPort   = 1883
	tlsPort     = 8883
)

// A setup is what init makes.
type setup struct {
	dir, data            string // absolute
	access, tls, metrics string
	certFile, keyFile    string // absolute; "": no TLS
	hosts                []string
	page, force          bool
	user                 string // "": none
	password             []byte
	passwordFile         string
	made                 bool // the password was
	cfg                  *config.Config
	certificate          *x509.Certificate // that was made
	aside                []string          // what was there, by its new name
	owner                int               // to whom what the broker needs is given
	owned                bool
	stage                string // where all is made first
	keepsAuthority       bool   // there is one already
	typed                bool   // somebody sits at a terminal, where a password can be asked for
}

// setup checks the answers, and that nothing is in the way.
func (c *initCommand) setup() (*setup, error) {
	dir := config.Absolute(c.Dir)
	s := &setup{dir: dir, data: config.Absolute(c.DataDir), access: c.Access, tls: c.TLS, metrics: c.Metrics, page: c.Page, force: c.Force, passwordFile: c.File, typed: terminal.Is(os.Stdin)}
	if c.needsUser() {
		s.user = c.User
	} else if c.User != "" {
		return nil, admin.Refuse("--user has no effect with --access %s and --no-page", c.Access)
	}
	if err := checkFirstUser(s.user, c.needsUser()); err != nil {
		return nil, err
	}
	switch s.tls {
	case tlsFiles:
		s.certFile, s.keyFile = config.Absolute(c.CertFile), config.Absolute(c.KeyFile)
		if err := link.CheckPair(s.certFile, s.keyFile); err != nil {
			return nil, admin.Refuse("%v", err)
		}
	case tlsMade:
		s.certFile, s.keyFile = filepath.Join(dir, setupCert, certFile), filepath.Join(dir, setupCert, keyFile)
		switch s.hosts = slices.Clone(c.Host); {
		case len(s.hosts) == 0:
			s.hosts = machineNames(s.access != accessLocal)
		case slices.Contains(s.hosts, "localhost"): // who connects to one of its addresses means the same
			s.hosts = withAll(s.hosts, loopbackAddresses)
		}
		if err := (&selfSignedCommand{Host: s.hosts, Days: certDays}).Validate(); err != nil {
			return nil, admin.Refuse("%v", err)
		}
	}
	if len(c.Host) > 0 && s.tls != tlsMade {
		return nil, admin.Refuse("--host goes with --tls %s only", tlsMade)
	}
	if err := s.configure(); err != nil {
		return nil, err
	}
	return s, s.free()
}

func checkFirstUser(name string, needed bool) error {
	if !needed {
		return nil
	}
	if err := checkUserWithout(&store.User{Name: name}); err != nil {
		return admin.Refuse("%v", err)
	}
	return nil
}

// loopbackAddresses are those of localhost.
var loopbackAddresses = []string{"127.0.0.1", "::1"}

// machineNames are those by which clients may reach this machine.
func machineNames(others bool) []string {
	names := append([]string{"localhost"}, loopbackAddresses...)
	if !others {
		return names
	}
	if host, err := os.Hostname(); err == nil && hostName.MatchString(host) && host != "localhost" {
		names = append(names, host)
		if !strings.Contains(host, ".") {
			names = append(names, host+".local")
		}
	}
	const most = 16
	addresses, _ := net.InterfaceAddrs() // without them the names remain
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && len(names) < most {
			names = append(names, n.IP.String())
		}
	}
	return names
}

// withAll appends the names that are not there yet.
func withAll(names, more []string) []string {
	for _, name := range more {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// configure has the keys set that matter first.
func (s *setup) configure() error {
	var environ []string
	set := func(key, value string) { environ = append(environ, "PROMPTMQ_"+key+"="+value) }
	set("DATA_DIR", s.data)
	web, here := 8080, ""
	if s.tls != tlsNone || s.access == accessLocal {
		here = "127.0.0.1" // others come in by TLS, or not at all
	}
	plain, plainWeb := net.JoinHostPort(here, strconv.Itoa(plainPort)), net.JoinHostPort(here, strconv.Itoa(web))
	var listeners []string
	if s.access == accessUsers {
		set("SERVER_BIND", "")
		set("SERVER_WS_BIND", "")
		listeners = append(listeners, s.listener(link.KindTCP, plain), s.listener(link.KindWS, plainWeb))
	} else {
		set("SERVER_BIND", plain)
		set("SERVER_WS_BIND", plainWeb)
	}
	if s.tls != tlsNone {
		reach := ""
		if s.access == accessLocal {
			reach = here
		}
		listeners = append(listeners, s.listener(link.KindTLS, net.JoinHostPort(reach, strconv.Itoa(tlsPort))), s.listener(link.KindWSS, net.JoinHostPort(reach, "8443")))
	}
	if len(listeners) > 0 {
		set("SERVER_LISTENERS", "["+strings.Join(listeners, ", ")+"]")
	}
	if s.access == accessAnyone {
		set("AUTH_ALLOW_ANONYMOUS", "true")
	}
	if s.page {
		set("ADMIN_BIND", pageAddress)
	}
	switch s.metrics {
	case metricsOff:
		set("METRICS_ENABLED", "false")
	case metricsLocal:
		set("METRICS_ENABLED", "true")
		set("METRICS_BIND", "127.0.0.1:9090")
	case metricsNetwork:
		set("METRICS_ENABLED", "true")
		set("METRICS_BIND", ":9090")
	}
	cfg, err := config.Load(config.Sources{Environ: environ})
	s.cfg = cfg
	return err
}

// listener is an entry of server.listeners.
func (s *setup) listener(kind, address string) string {
	text := fmt.Sprintf("{kind: %s, address: %q", kind, address)
	if s.access == accessUsers {
		text += ", anonymous: no"
	}
	if kind == link.KindTLS || kind == link.KindWSS {
		text += fmt.Sprintf(", cert-file: %q, key-file: %q", s.certFile, s.keyFile)
	}
	return text + "}"
}

// targets are the files that init makes, apart from the database.
func (s *setup) targets() []string {
	names := []string{setupFile}
	if s.tls == tlsMade {
		names = append(names, filepath.Join(setupCert, keyFile), filepath.Join(setupCert, certFile))
		if !s.keepsAuthority {
			names = append(names, filepath.Join(setupCert, caKeyFile), filepath.Join(setupCert, caFile))
		}
	}
	return names
}

// free makes sure that nothing is replaced that is not to be.
func (s *setup) free() error {
	if _, err := os.Lstat(filepath.Join(s.dir, setupCert, caFile)); err == nil && s.tls == tlsMade {
		s.keepsAuthority = true // clients may trust it
	}
	for _, name := range s.targets() {
		path := filepath.Join(s.dir, name)
		if _, err := os.Lstat(path); err == nil && !s.force {
			return admin.Refuse("%s is there already, and nothing was made: --force sets it aside", path)
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if store.Exists(s.data) && !s.force {
		return admin.Refuse("there is a database in %s already, and nothing was made: --force sets it aside", s.data)
	}
	if running(s.data) {
		return admin.Refuse("a broker runs on %s, and nothing was made: stop it first", s.data)
	}
	if owner, known := store.Owner(s.data); known && owner != os.Geteuid() {
		if os.Geteuid() != 0 {
			return admin.Refuse("%s belongs to user %d: run this as that user or as root, or choose another with --data-dir", s.data, owner)
		}
		s.owner, s.owned = owner, true
	}
	return nil
}

// make makes everything beside its place, and puts it there when all of it is whole.
func (s *setup) make() (err error) {
	undo := new(undoing)
	defer func() {
		if err != nil {
			undo.all()
		}
	}()
	if err := undo.mkdir(s.dir, 0o755); err != nil {
		return err
	}
	if s.stage, err = os.MkdirTemp(s.dir, ".promptmq-init-"); err != nil { // with mode 0700
		return err
	}
	defer func() { _ = os.RemoveAll(s.stage) }() // a directory with a name that says what it is
	if err := s.makeCertificate(); err != nil {
		return err
	}
	var text bytes.Buffer
	if err := s.writeConfig(&text); err != nil {
		return err
	}
	if err := writeWhole(filepath.Join(s.stage, setupFile), text.Bytes(), 0o644); err != nil {
		return err
	}
	if err := s.makeStore(); err != nil {
		return err
	}
	if s.tls == tlsMade {
		if err := undo.mkdir(filepath.Join(s.dir, setupCert), 0o755); err != nil {
			return err
		}
	}
	for _, name := range s.targets() {
		aside, err := undo.place(filepath.Join(s.stage, name), filepath.Join(s.dir, name))
		if err != nil {
			return err
		}
		if aside != "" {
			s.aside = append(s.aside, aside)
		}
	}
	return s.placeStore(undo)
}

// makeCertificate makes an authority and a certificate, if they are wanted.
func (s *setup) makeCertificate() error {
	if s.tls != tlsMade {
		return nil
	}
	dir := filepath.Join(s.stage, setupCert)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if s.keepsAuthority {
		for _, name := range []string{caFile, caKeyFile} {
			text, err := os.ReadFile(filepath.Join(s.dir, setupCert, name))
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
				return err
			}
		}
	}
	var err error
	s.certificate, _, err = (&selfSignedCommand{Out: dir, Host: s.hosts, Days: certDays, CA: true}).make(time.Now())
	return err
}

// makesStore reports whether there is to be a new database: one that is there has users and rules
// that would hold on.
func (s *setup) makesStore() bool { return s.user != "" || store.Exists(s.data) }

// makeStore makes a database, with the first user and rules for it if there is one.
func (s *setup) makeStore() error {
	if !s.makesStore() {
		return nil
	}
	o := store.DefaultOptions()
	o.DataDir = filepath.Join(s.stage, "data")
	db, err := store.Open(o)
	if err != nil {
		return err
	}
	if s.user != "" {
		err = s.addUser(db)
	}
	return errors.Join(err, db.Close())
}

func (s *setup) addUser(db *store.DB) error {
	api, err := stoppedAPI(db, config.Default())
	if err != nil {
		return err
	}
	ctx, client := context.Background(), admin.Local(api)
	in := &newUser{Name: s.user}
	if s.page {
		in.Role = string(admin.Admin)
	}
	in.Hash, in.Scram = hashPassword(bytes.Clone(s.password))
	if _, err := admin.Call[changed](ctx, client, http.MethodPost, "/users", in); err != nil || s.access != accessUsers {
		return err
	}
	for _, rule := range []access.Rule{
		{User: s.user, Actions: access.Publish | access.Subscribe | access.Receive, MaxQoS: 2, Filter: "#"},
		{User: s.user, Actions: access.Subscribe | access.Receive, MaxQoS: 2, Filter: "$SYS/#"},
	} {
		if _, err := admin.Call[ruleAdded](ctx, client, http.MethodPost, "/rules", &newRule{Rule: rule.String()}); err != nil {
			return err
		}
	}
	return nil
}

// placeStore puts the database in its place.
func (s *setup) placeStore(undo *undoing) error {
	if err := undo.mkdir(s.data, 0o700); err != nil {
		return err
	}
	if s.makesStore() {
		aside, err := store.Restore(context.Background(), store.File(filepath.Join(s.stage, "data")), s.data, s.force, time.Now(), func(_, _ int64) {})
		if err != nil {
			return err
		}
		if aside != "" {
			s.aside = append(s.aside, aside)
			undo.steps = append(undo.steps, func() { _ = store.TakeBack(s.data, aside) })
		} else {
			undo.steps = append(undo.steps, func() { _ = os.Remove(store.File(s.data)) })
		}
	}
	return s.giveAway()
}

// giveAway gives what the broker needs to whom the data directory belongs.
func (s *setup) giveAway() error {
	if !s.owned {
		return nil
	}
	made, err := filepath.Glob(filepath.Join(s.data, "promptmq.*"))
	if err != nil {
		return err
	}
	if s.tls == tlsMade {
		made = append(made, s.keyFile)
	}
	for _, name := range made {
		if err := os.Lchown(name, s.owner, -1); err != nil {
			return err
		}
	}
	return nil
}

// newPassword is one that nobody guesses and that can be typed: 100 bits.
func newPassword() string {
	text := strings.ToLower(rand.Text())
	return strings.Join([]string{text[:5], text[5:10], text[10:15], text[15:20]}, "-")
}

// undoing takes back what was done if something else fails.
type undoing struct{ steps []func() }

func (u *undoing) all() {
	for i := len(u.steps) - 1; i >= 0; i-- {
		u.steps[i]()
	}
}

// mkdir makes a directory and those above it, where they are missing.
func (u *undoing) mkdir(dir string, mode fs.FileMode) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if parent := filepath.Dir(dir); parent != dir {
		if err := u.mkdir(parent, 0o755); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, mode); err != nil {
		return err
	}
	u.steps = append(u.steps, func() { _ = os.Remove(dir) }) // stays if there is something in it
	return nil
}

// place gives a file its name, and another one to what is there.
func (u *undoing) place(from, to string) (aside string, err error) {
	if _, err := os.Lstat(to); err == nil {
		aside = unusedName(to + ".before-" + time.Now().Format("20060102-150405"))
		if err := os.Rename(to, aside); err != nil {
			return "", err
		}
		u.steps = append(u.steps, func() { _ = os.Rename(aside, to) })
	}
	if err := store.PutInPlace(from, to); err != nil {
		return "", err
	}
	if aside == "" {
		u.steps = append(u.steps, func() { _ = os.Remove(to) })
	}
	return aside, nil
}

// unusedName is a name, with a number if there is something that has it.
func unusedName(name string) string {
	free := name
	for n := 2; ; n++ {
		if _, err := os.Lstat(free); err != nil {
			return free
		}
		free = fmt.Sprintf("%s-%d", name, n)
	}
}
