package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/config"
	"github.com/x0a1b/promptmq/terminal"
)

// What may be answered to the questions of init.
const (
	accessLocal  = "local"
	accessUsers  = "users"
	accessAnyone = "anyone"

	tlsNone  = "none"
	tlsMade  = "self-made"
	tlsFiles = "files"

	metricsLocal   = "local"
	metricsNetwork = "network"
	metricsOff     = "off"
)

type initCommand struct {
	Dir string `arg:"" optional:"" default:"." placeholder:"DIR" help:"Directory for the configuration and the certificates; created when missing. Default: this one."`

	Access   string   `placeholder:"WHO" help:"Who may connect: local (this machine, without a password), users (everybody with a password) or anyone."`
	TLS      string   `name:"tls" placeholder:"HOW" help:"TLS for other machines: none, self-made (an authority and a certificate are made) or files (--cert-file and --key-file)."`
	CertFile string   `name:"cert-file" placeholder:"FILE" help:"Certificate, PEM; makes it --tls files."`
	KeyFile  string   `name:"key-file" placeholder:"FILE" help:"Its key, PEM."`
	Host     []string `placeholder:"NAME" help:"Name or address for the self-made certificate, by which clients reach the broker; may be repeated. Default: the names and addresses of this machine."`
	DataDir  string   `name:"data-dir" placeholder:"DIR" help:"Where the data live. Default: data in the directory, or /var/lib/promptmq if that is there and the directory is /etc/promptmq."`
	Metrics  string   `placeholder:"FOR" help:"Who may read metrics: local (this machine), network or off."`

	User string `placeholder:"NAME" help:"Name of the first user. Default: admin."`
	passwordSource
	Page bool `default:"true" negatable:"" help:"The page on 127.0.0.1:9092, with the first user as its administrator."`

	Yes   bool `short:"y" help:"Take the default of what is not said, and ask nothing: users, self-made, data in the directory, local."`
	Force bool `help:"Set files aside that are there already, and a database."`
}

// A question has answers, the first of which is its default.
type question struct {
	text, flag string
	answers    []answer
}

type answer struct{ word, means string }

var (
	askAccess = question{"Who may connect?", "--access", []answer{
		{accessUsers, "everybody who has a user name and a password"},
		{accessLocal, "only programs on this machine, without a password"},
		{accessAnyone, "everybody, without a password"}}}
	askTLS = question{"TLS, so that nobody can listen in?", "--tls", []answer{
		{tlsMade, "an authority and a certificate are made now; clients are given ca.pem"},
		{tlsFiles, "I have a certificate and its key"},
		{tlsNone, "no: passwords and messages can be read on the way"}}}
	askMetrics = question{"Who may read metrics and ask for /health?", "--metrics", []answer{
		{metricsLocal, "programs on this machine"},
		{metricsNetwork, "everybody, as a Prometheus on another machine"},
		{metricsOff, "nobody"}}}
)

// check returns an error unless word is one of the answers.
func (q *question) check(word string) error {
	var words []string
	for _, a := range q.answers {
		if a.word == word {
			return nil
		}
		words = append(words, a.word)
	}
	return admin.Refuse("%s=%q must be one of %s", q.flag, word, strings.Join(words, ", "))
}

// Run implements the command.
func (c *initCommand) Run() error {
	if err := c.answer(); err != nil {
		return err
	}
	s, err := c.setup()
	if err != nil {
		return err
	}
	if s.password, s.made, err = c.firstPassword(s.user); err != nil {
		return err
	}
	if err := s.make(); err != nil {
		return fmt.Errorf("nothing was made: %w", err)
	}
	return s.tell(os.Stdout)
}

// answer has all questions answered: by flags, by their defaults, or by who sits there.
func (c *initCommand) answer() error {
	if c.CertFile != "" || c.KeyFile != "" {
		if c.TLS != "" && c.TLS != tlsFiles {
			return admin.Refuse("--cert-file and --key-file go with --tls %s", tlsFiles)
		}
		c.TLS = tlsFiles
	}
	asks := terminal.Is(os.Stdin) && !c.Yes
	if missing := c.missing(); !asks && !c.Yes && len(missing) > 0 {
		return admin.Refuse("there is no terminal to ask at: say %s, or --yes for the defaults", strings.Join(missing, ", "))
	}
	t := &questioner{asks: asks}
	t.choose(&c.Access, askAccess)
	of := askTLS
	if c.Access == accessLocal {
		of.answers = []answer{askTLS.answers[2], askTLS.answers[0], askTLS.answers[1]}
	}
	t.choose(&c.TLS, of)
	if c.TLS == tlsFiles {
		t.text(&c.CertFile, "File with the certificate", "")
		t.text(&c.KeyFile, "File with its key", "")
	}
	t.text(&c.DataDir, "Where do the data live?", c.defaultData())
	t.choose(&c.Metrics, askMetrics)
	if c.needsUser() {
		t.text(&c.User, "Name of the first user", "admin")
	}
	if t.err == nil && c.TLS == tlsFiles && (c.CertFile == "" || c.KeyFile == "") {
		return admin.Refuse("--tls %s needs --cert-file and --key-file", tlsFiles)
	}
	return t.err
}

// missing are the flags of questions that have no answer yet.
func (c *initCommand) missing() (flags []string) {
	for _, f := range []struct{ value, flag string }{{c.Access, askAccess.flag}, {c.TLS, askTLS.flag}, {c.DataDir, "--data-dir"}, {c.Metrics, askMetrics.flag}} {
		if f.value == "" {
			flags = append(flags, f.flag)
		}
	}
	return flags
}

func (c *initCommand) needsUser() bool { return c.Access == accessUsers || c.Page }

// defaultData is where the data live if nothing is said.
func (c *initCommand) defaultData() string {
	const packaged, configured = "/var/lib/promptmq", "/etc/promptmq"
	dir := config.Absolute(c.Dir)
	if info, err := os.Stat(packaged); err == nil && info.IsDir() && dir == configured {
		return packaged
	}
	return filepath.Join(dir, "data")
}

// firstPassword returns the password of the first user, and whether it was made here.
func (c *initCommand) firstPassword(user string) (password []byte, made bool, err error) {
	switch {
	case user == "":
		if c.Stdin || c.File != "" {
			err = admin.Refuse("there is no first user who would have that password: it is made with --access %s, or with the page", accessUsers)
		}
		return nil, false, err
	case c.Stdin || c.File != "":
		password, err = c.read()
		return password, false, err
	case terminal.Is(os.Stdin) && !c.Yes:
		password, err = askPassword(fmt.Sprintf("Password of %s (empty: one is made): ", escaped(user)))
		if err != nil || len(password) > 0 {
			if err == nil {
				password, err = confirmPassword(password)
			}
			return password, false, err
		}
	}
	return []byte(newPassword()), true, nil
}

// A questioner asks at the terminal, or takes defaults.
type questioner struct {
	asks bool
	err  error
}

// choose has an answer in word: that of a flag, or else one that is chosen.
func (t *questioner) choose(word *string, q question) {
	switch {
	case t.err != nil:
	case *word != "":
		t.err = q.check(*word)
	case !t.asks:
		*word = q.answers[0].word
	default:
		fmt.Fprintf(os.Stderr, "\n%s\n", q.text)
		for i, a := range q.answers {
			fmt.Fprintf(os.Stderr, "  %d  %-10s %s\n", i+1, a.word, a.means)
		}
		for *word == "" && t.err == nil {
			*word = q.chosen(t.line(fmt.Sprintf("[%s]: ", q.answers[0].word)))
		}
	}
}

// chosen is the word of an answer that was typed, its number or itself; "": it is none.
func (q *question) chosen(typed string) string {
	if typed == "" {
		return q.answers[0].word
	}
	for i, a := range q.answers {
		if typed == a.word || typed == fmt.Sprint(i+1) {
			return a.word
		}
	}
	fmt.Fprintf(os.Stderr, "a number from 1 to %d, or a word, is expected\n", len(q.answers))
	return ""
}

// text has a text in value: that of a flag, or else one that is typed.
func (t *questioner) text(value *string, what, otherwise string) {
	if t.err != nil || *value != "" {
		return
	}
	*value = otherwise
	if !t.asks {
		return
	}
	prompt := "\n" + what + ": "
	if otherwise != "" {
		prompt = fmt.Sprintf("\n%s [%s]: ", what, otherwise)
	}
	if typed := t.line(prompt); typed != "" {
		*value = typed
	}
}

// line returns what is typed behind a prompt. A terminal gives one line at a time.
func (t *questioner) line(prompt string) string {
	fmt.Fprint(os.Stderr, prompt)
	buf := make([]byte, 4096)
	n, err := os.Stdin.Read(buf)
	if err != nil || n == 0 {
		fmt.Fprintln(os.Stderr)
		t.err = errors.New("there was no answer, and nothing was made")
	}
	return strings.TrimSpace(string(buf[:n]))
}
