package store

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// exportVersion is that of the lines of an export.
const exportVersion = 1

// A Line is one of an export: one of its members is there. Queued messages belong to the
// session before them.
type Line struct {
	Export   *lineHead     `json:"promptmq_export,omitempty"`
	Session  *LineSession  `json:"session,omitempty"`
	Queued   *LineQueued   `json:"queued,omitempty"`
	Retained *LineRetained `json:"retained,omitempty"`
	User     *LineUser     `json:"user,omitempty"`
	Rule     *string       `json:"rule,omitempty"`

	number int // in the file, from 1 on; 0: it is of none
}

type lineHead struct {
	Version int       `json:"version"`
	At      time.Time `json:"at"`
}

// A LineSession is a Session. Without ExpiresAt one that expires does so after Expiry
// seconds from the next start of the broker on.
type LineSession struct {
	Client        string             `json:"client"`
	User          string             `json:"user,omitempty"` // whose it is; empty: nobody's in particular
	Version       int                `json:"protocol"`
	Expiry        uint32             `json:"session_expiry_seconds"`
	ExpiresAt     time.Time          `json:"expires_at,omitzero"`
	Subscriptions []LineSubscription `json:"subscriptions,omitempty"`
	// Received are the Packet Identifiers of QoS 2 messages of the Client that were
	// accepted and for which no PUBREL has come.
	Received []uint16 `json:"received,omitempty"`
	// Released are those of messages to the Client for which PUBCOMP has not come.
	Released []uint16 `json:"released,omitempty"`
}

// A LineSubscription is a subscription of a Session.
type LineSubscription struct {
	Filter            string `json:"filter"`
	QoS               int    `json:"qos"`
	NoLocal           bool   `json:"no_local,omitempty"`
	RetainAsPublished bool   `json:"retain_as_published,omitempty"`
	RetainHandling    int    `json:"retain_handling,omitempty"`
	ID                uint32 `json:"identifier,omitempty"`
}

// A LineMessage is a message: Properties are those that are passed on, encoded.
type LineMessage struct {
	Topic      string    `json:"topic"`
	Payload    []byte    `json:"payload"`
	QoS        int       `json:"qos"`
	Retain     bool      `json:"retain,omitempty"`
	ExpiresAt  time.Time `json:"expires_at,omitzero"`
	Properties []byte    `json:"properties,omitempty"`
}

// A LineQueued is a message that waits for the Client of the Session before it.
type LineQueued struct {
	LineMessage
	DeliverQoS      int       `json:"deliver_qos"`
	DeliverRetain   bool      `json:"deliver_retain,omitempty"`
	QueuedAt        time.Time `json:"queued_at,omitzero"`
	SubscriptionIDs []uint32  `json:"subscription_identifiers,omitempty"`
	Share           string    `json:"share,omitempty"`
	// Sent is the Packet Identifier that it was sent with; 0: it was not, nor were those
	// behind it.
	Sent uint16 `json:"sent,omitempty"`
}

// A LineRetained is a retained message, and whose it is.
type LineRetained struct {
	LineMessage
	User string `json:"user,omitempty"`
}

// A LineUser is a user. Without Hash it is left out of an import.
type LineUser struct {
	Name     string    `json:"name"`
	Hash     string    `json:"hash,omitempty"`
	Scram    string    `json:"scram,omitempty"`
	Groups   []string  `json:"groups,omitempty"`
	Disabled bool      `json:"disabled,omitempty"`
	Role     string    `json:"role,omitempty"`
	Changed  time.Time `json:"changed_at"`
}

// LineOf returns a message as it stands in a line. It shares the memory of m.
func LineOf(m *session.Message) LineMessage {
	return LineMessage{m.Topic, m.Payload, int(m.QoS), m.Retain, utc(m.ExpiresAt), m.Forward}
}

func (l *LineMessage) message() *session.Message {
	return &session.Message{Topic: l.Topic, Payload: l.Payload, QoS: codec.QoS(l.QoS), Retain: l.Retain, ExpiresAt: l.ExpiresAt, Forward: l.Properties}
}

func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}

// Lines are those of an import. They can be read more than once; an error is the last.
type Lines = iter.Seq2[*Line, error]

// JSONLines reads what ExportFile wrote. An error names the line.
func JSONLines(in io.ReadSeeker) Lines {
	return func(yield func(*Line, error) bool) {
		if _, err := in.Seek(0, io.SeekStart); err != nil {
			yield(nil, err)
			return
		}
		n := 0
		for text, err := range linesOf(in) {
			n++
			var l *Line
			if err == nil {
				l, err = lineFrom(text, n)
			}
			if err != nil {
				yield(nil, fmt.Errorf("line %d: %w", n, err))
				return
			}
			if l.Export == nil && !yield(l, nil) {
				return
			}
		}
		if n == 0 {
			yield(nil, errors.New("line 1: it is empty, and no export"))
		}
	}
}

// lineFrom reads a line; n is its number.
func lineFrom(text []byte, n int) (*Line, error) {
	l := &Line{number: n}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(l); err != nil {
		return nil, fmt.Errorf("no line of an export: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	if (l.Export != nil) != (n == 1) {
		return nil, errors.New(`the first line, and no other, is {"promptmq_export": …}`)
	}
	if l.Export != nil && l.Export.Version != exportVersion {
		return nil, fmt.Errorf("the export has version %d, and this program reads %d", l.Export.Version, exportVersion)
	}
	return l, nil
}

// linesOf reads lines of any length up to lineBytesMax.
func linesOf(in io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		r := bufio.NewReaderSize(in, 1<<20)
		var text []byte
		for {
			part, err := r.ReadSlice('\n')
			text = append(text, part...)
			switch {
			case errors.Is(err, bufio.ErrBufferFull) && len(text) <= lineBytesMax:
				continue
			case errors.Is(err, bufio.ErrBufferFull):
				err = fmt.Errorf("more than %d bytes", lineBytesMax)
			case errors.Is(err, io.EOF) && len(text) == 0:
				return
			case errors.Is(err, io.EOF):
				err = nil
			}
			if !yield(text, err) {
				return
			}
			text = text[:0]
		}
	}
}
