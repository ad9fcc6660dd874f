package main

import (
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/x0a1b/promptmq/terminal"
)

// writeConfig writes the file that the broker is started with.
func (s *setup) writeConfig(w io.Writer) error {
	file := shellWord(filepath.Join(s.dir, setupFile))
	if _, err := fmt.Fprintf(w, `# Made by promptmq init on %s. Change it as you like: promptmq reload takes over
# what can change while the broker runs, and promptmq config check %s says what is wrong.
#
# All that is not here has its default. promptmq config print lists every key with what it is,
# promptmq config explain KEY tells of one, promptmq doctor --config %s looks at
# this machine with it.
`, time.Now().Format(time.DateOnly), file, file); err != nil {
		return err
	}
	if s.access == accessUsers {
		if _, err := fmt.Fprint(w, `#
# Users and rules are in the database: promptmq user and promptmq acl change them. From the first
# rule on what no rule allows is denied.
`); err != nil {
			return err
		}
	}
	if s.tls == tlsMade {
		if _, err := fmt.Fprintf(w, `#
# Before the certificate ends on %s:
#   promptmq cert self-signed --ca --force --days %d --out %s --host %s
# The broker takes the new one over by itself, and clients go on to trust %s.
`, s.certificate.NotAfter.Format(time.DateOnly), certDays, shellWord(filepath.Join(s.dir, setupCert)), strings.Join(s.hosts, " --host "), caFile); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return s.cfg.WriteGiven(w)
}

// tell says what was made, and what to do next.
func (s *setup) tell(w io.Writer) error {
	t := terminal.Table{Columns: []terminal.Column{{Title: "MADE"}, {Title: "WHAT IT IS"}}}
	t.Add(filepath.Join(s.dir, setupFile), "the configuration, with comments")
	if s.tls == tlsMade {
		t.Add(filepath.Join(s.dir, setupCert, caFile), "the authority, for clients to trust; keep "+caKeyFile+" for the next certificate")
		t.Add(s.certFile, "the certificate until "+s.certificate.NotAfter.Format(time.DateOnly)+", with its "+keyFile)
	}
	t.Add(s.data, s.dataText())
	if err := t.Write(w, 0); err != nil {
		return err
	}
	lines := []string{}
	for _, name := range s.aside {
		lines = append(lines, "what was there is now "+name)
	}
	if s.owned {
		lines = append(lines, fmt.Sprintf("the database belongs to user %d as its directory does, and the key of the certificate too: run the broker as that user", s.owner))
	}
	if s.made {
		lines = append(lines, "", fmt.Sprintf("The password of %s, which is not shown again: %s", escaped(s.user), s.password))
	}
	lines = append(lines, "", "Next, each in a terminal:", "")
	for _, command := range s.next() {
		lines = append(lines, "  "+command)
	}
	if s.access == accessUsers && s.passwordFile == "" && !(s.made && !s.typed) {
		lines = append(lines, "", "The last two ask for the password.")
	}
	lines = append(lines, "")
	lines = append(lines, s.hints()...)
	_, err := fmt.Fprintln(w, strings.Join(lines, "\n"))
	return err
}

func (s *setup) dataText() string {
	switch {
	case s.user == "":
		return "the data"
	case s.page && s.access == accessUsers:
		return "the data, with the user " + s.user + ", who may publish and read everything and administers the broker"
	case s.page:
		return "the data, with the user " + s.user + ", who administers the broker"
	}
	return "the data, with the user " + s.user + ", who may publish and read everything"
}

// next are the commands that lead to a first message.
func (s *setup) next() []string {
	login := ""
	if s.access == accessUsers {
		login = " -u " + shellWord(s.user)
		switch {
		case s.passwordFile != "":
			login += " --password-file " + shellWord(s.passwordFile)
		case s.made && !s.typed:
			login += " -P " + shellWord(string(s.password))
		default:
			login += " --password-file -" // it is asked for
		}
	}
	return []string{
		"promptmq server --config " + shellWord(filepath.Join(s.dir, setupFile)),
		"promptmq sub" + login + " -v -t 'hello/#'",
		"promptmq pub" + login + " -t hello/world -m 'it works'",
	}
}

// hints are what else there is.
func (s *setup) hints() (lines []string) {
	file := shellWord(filepath.Join(s.dir, setupFile))
	if s.access == accessAnyone {
		seen := ""
		if s.tls == tlsNone {
			seen = ", and what they send can be read on the way"
		}
		lines = append(lines, "Open:           whoever reaches this machine may connect, publish and read everything"+seen)
	}
	if s.page {
		lines = append(lines, "The page:       http://"+pageAddress+"/ in a browser on this machine; sign in as "+escaped(s.user))
	}
	if s.tls != tlsNone && s.access != accessLocal {
		trusted := ""
		if s.tls == tlsMade {
			trusted = ", trusting " + caFile
		}
		lines = append(lines, fmt.Sprintf("Other machines: port %d with TLS, or 8443 as WebSocket%s; without TLS only this one", tlsPort, trusted))
	}
	if s.access == accessUsers {
		lines = append(lines,
			"Another user:   promptmq user add NAME --config "+file,
			"                promptmq acl add --config "+file+" allow user NAME all topic 'NAME/#'")
	}
	return append(lines, "All well?       promptmq doctor --config "+file)
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:@%+=,-]+$`)

// shellWord is a word as a shell takes it.
func shellWord(text string) string {
	if plainWord.MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
