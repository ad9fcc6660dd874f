package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/store"
	"github.com/x0a1b/promptmq/topics"
)

type exportCommand struct {
	place
	To      string `arg:"" name:"file" placeholder:"FILE" help:"File to make, of lines of JSON."`
	Force   bool   `help:"Replace the file if it is there."`
	Backup  string `placeholder:"FILE" help:"Export a backup, in place of the store of a broker."`
	Secrets bool   `name:"with-secrets" help:"Write the hashes of users too, without which users are not imported."`
}

// Run implements the command.
func (c *exportCommand) Run() error {
	if err := c.here("export", c.Backup != ""); err != nil {
		return err
	}
	dir := ""
	if c.Backup == "" {
		var err error
		if dir, err = c.dir(); err != nil {
			return err
		}
	}
	to, err := target(dir, c.To, c.Force)
	if err != nil {
		return err
	}
	from, done, err := c.source(dir)
	if err != nil {
		return err
	}
	defer done()
	partial := to + partialSuffix
	counts, err := c.write(from, partial)
	if err == nil {
		err = putInPlace(dir, partial, to)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Printf("%s: exported %s\n", to, storedText(counts))
	if err == nil && counts.LeftOut > 0 {
		_, err = fmt.Printf("without --with-secrets %s no password, and cannot be imported\n", counted(counts.LeftOut, "user has", "users have"))
	}
	return err
}

// write exports to a new file, of which nothing is left after an error.
func (c *exportCommand) write(from, partial string) (*store.Counts, error) {
	if err := os.Remove(partial); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err // of a command that was cut short
	}
	f, err := os.OpenFile(partial, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	counts, err := store.ExportFile(from, c.Secrets, time.Now(), f)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, errors.Join(err, os.Remove(partial)) // half an export is none
	}
	return counts, nil
}

// storedText says what an export or an import has.
func storedText(n *store.Counts) string {
	return fmt.Sprintf("%s with %s, %s, %s, %s", counted(n.Sessions, "session", "sessions"), counted(n.Queued, "queued message", "queued messages"),
		counted(n.Retained, "retained message", "retained messages"), counted(n.Users, "user", "users"), counted(n.Rules, "rule", "rules"))
}

// counted is a number of things, of which there may be one.
func counted(n int, one, many string) string {
	if n == 1 {
		many = one
	}
	return inspect.CountText(n) + " " + many
}

// source is a database that nobody writes to: the backup, or a copy of the store.
func (c *exportCommand) source(dir string) (path string, done func(), err error) {
	if c.Backup != "" {
		return c.Backup, func() {}, nil
	}
	if !store.Exists(dir) {
		return "", nil, fmt.Errorf("there is no database in %s: is that the data directory of the server?", dir)
	}
	partial := filepath.Join(dir, "promptmq-export"+partialSuffix)
	if err := c.copyTo(context.Background(), partial); err != nil {
		return "", nil, err
	}
	return partial, func() { _ = os.Remove(partial) }, nil // the next one does it otherwise
}

type importCommand struct {
	File      importFileCommand      `cmd:"" default:"withargs" help:"Store what export wrote, all or nothing, where the broker is stopped. The word file may be left out."`
	Mosquitto importMosquittoCommand `cmd:"" help:"Move a Mosquitto in: configuration, users, rules and state. Its files stay as they are; exit with 3 if something was changed or left out, and with 2, without having written anything, if something is refused."`
}

type importFileCommand struct {
	place
	From string `arg:"" name:"file" placeholder:"FILE" help:"What export wrote."`
}

// Run implements the command.
func (c *importFileCommand) Run() error {
	if err := c.here("import", false); err != nil {
		return err
	}
	dir, err := c.dir()
	if err != nil {
		return err
	}
	if err := ownerAsks(dir); err != nil {
		return err
	}
	cfg, err := c.load()
	if err != nil {
		return err
	}
	f, err := os.Open(c.From)
	if err != nil {
		return admin.Refuse("%v", err)
	}
	defer func() { _ = f.Close() }() // only read
	found, err := store.ImportStopped(cfg.Store, store.JSONLines(f), checksOfImport)
	switch {
	case errors.Is(err, store.ErrInUse):
		return fmt.Errorf("%w: stop the broker first", err)
	case errors.As(err, new(store.ImportError)):
		return admin.Refuse("%s: nothing was imported: %v", c.From, err)
	case err != nil:
		return hintSalvage(err)
	}
	fmt.Printf("%s: imported %s\n", dir, storedText(found))
	if found.LeftOut > 0 {
		fmt.Printf("%s left out: the export was made without --with-secrets\n", counted(found.LeftOut, "user was", "users were"))
	}
	return nil
}

func checkRule(text string) error {
	_, err := access.ParseRule(text)
	return err
}

// levelsOfImport is more levels than any configuration allows to be published to.
const levelsOfImport = 1 << 16

func checkFilter(filter string) error {
	_, rest, _, err := topics.ParseShare([]byte(filter))
	if err != nil {
		return err
	}
	return topics.ValidFilter(rest, levelsOfImport)
}

// checkMessage looks at a Topic Name, and at properties as they would be sent.
func checkMessage(topic string, properties []byte) error {
	if err := topics.ValidName([]byte(topic), levelsOfImport); err != nil {
		return fmt.Errorf("topic: %w", err)
	}
	packet, err := codec.AppendPublish(nil, &codec.Publish{Topic: codec.View(topic), Forward: codec.ForwardBytes(properties)}, codec.Version5)
	if err != nil {
		return fmt.Errorf("topic: %w", err)
	}
	var r codec.Reader
	r.Reset(0)
	r.SetVersion(codec.Version5)
	r.Lend(packet)
	r.Wrote(len(packet))
	frame, err := r.Next()
	var p codec.Publish
	if err == nil {
		err = p.Decode(frame, codec.Version5)
	}
	if err != nil || !bytes.Equal(p.Forward.AppendTo(nil), properties) {
		return errors.New("properties: they are not those of a message")
	}
	return nil
}
