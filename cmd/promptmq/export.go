package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/store"
	"github.com/x0a1b/promptmq/topics"
)

type exportCommand struct {
	place
	To      string `arg:"" name:"file" placeholder:"FILE" help:"File to make, of lines of JSON."`
	Backup  string `placeholder:"FILE" help:"Export a backup, in place of the store of a broker."`
	Secrets bool   `name:"with-secrets" help:"Write the hashes of users too, without which users are not imported."`
}

// Run implements the command.
func (c *exportCommand) Run() error {
	from, done, err := c.source()
	if err != nil {
		return err
	}
	defer done()
	f, err := os.OpenFile(c.To, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(store.ExportFile(from, c.Secrets, time.Now(), f), f.Sync(), f.Close())
	if err != nil {
		_ = os.Remove(c.To) // half an export is none
	}
	return err
}

// source is a database that nobody writes to: the backup, or a copy of the store.
func (c *exportCommand) source() (path string, done func(), err error) {
	if c.Backup != "" {
		return c.Backup, func() {}, nil
	}
	dir, err := c.dir()
	if err != nil {
		return "", nil, err
	}
	if !store.Exists(dir) {
		return "", nil, fmt.Errorf("there is no database in %s: is that the data directory of the server?", dir)
	}
	partial := filepath.Join(dir, "export"+partialSuffix)
	if err := c.copyTo(context.Background(), partial); err != nil {
		return "", nil, err
	}
	return partial, func() { _ = os.Remove(partial) }, nil // the next one does it otherwise
}

type importCommand struct {
	place
	From string `arg:"" name:"file" placeholder:"FILE" help:"What export wrote."`
}

// Run implements the command.
func (c *importCommand) Run() error {
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
		return err
	}
	defer func() { _ = f.Close() }() // only read
	db, err := store.Open(cfg.Store)
	if errors.Is(err, store.ErrInUse) {
		return fmt.Errorf("%w: stop the broker first", err)
	}
	if err != nil {
		return hintSalvage(err)
	}
	found, err := db.Import(f, store.Checks{User: checkUser, Rule: checkRule, Filter: checkFilter, Message: checkMessage})
	if err = errors.Join(err, db.Close()); err != nil {
		return admin.Refuse("%s: nothing was imported: %v", c.From, err)
	}
	fmt.Printf("%s: imported %d sessions with %d queued messages, %d retained messages, %d users, %d rules\n", dir, found.Sessions, found.Queued, found.Retained, found.Users, found.Rules)
	if found.LeftOut > 0 {
		fmt.Printf("%d users were left out: the export was made without --with-secrets\n", found.LeftOut)
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
