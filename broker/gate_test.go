package broker_test

import (
	"encoding/json"
	"log/slog"
	"strings"
	"sync"

	"github.com/x0a1b/promptmq/session"
	"github.com/x0a1b/promptmq/store"
)

// A gatedStore is the real store with a gate in front of Apply: while it is
// shut, the disk does not answer.
type gatedStore struct {
	*store.DB
	disk sync.Mutex // held while the file is written

	mu      sync.Mutex // guards the following
	shut    chan struct{}
	entered chan struct{} // gets a value when Apply comes to the shut gate
	fail    error
	// look, if not nil, is shown each batch at the start of Apply; what it returns
	// is called at the end.
	look func(*session.Batch) (after func())
}

func (s *gatedStore) Apply(b *session.Batch) error {
	s.mu.Lock()
	shut, fail, look := s.shut, s.fail, s.look
	s.mu.Unlock()
	if look != nil {
		defer look(b)()
	}
	if shut != nil {
		select {
		case s.entered <- struct{}{}:
		default:
		}
		<-shut
	}
	if fail != nil {
		return fail
	}
	s.disk.Lock()
	defer s.disk.Unlock()
	return s.DB.Apply(b)
}

func (s *gatedStore) Tidy() (more bool, err error) {
	s.disk.Lock()
	defer s.disk.Unlock()
	return s.DB.Tidy()
}

func (s *gatedStore) Remove() (more bool, err error) {
	s.disk.Lock()
	defer s.disk.Unlock()
	return s.DB.Remove()
}

// close shuts the gate; the returned function opens it.
func (s *gatedStore) close() (open func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	shut := make(chan struct{})
	s.shut, s.entered = shut, make(chan struct{}, 1)
	return sync.OnceFunc(func() {
		s.mu.Lock()
		s.shut = nil
		s.mu.Unlock()
		close(shut)
	})
}

func (s *gatedStore) setFail(err error) {
	s.mu.Lock()
	s.fail = err
	s.mu.Unlock()
}

func (s *gatedStore) setLook(look func(*session.Batch) func()) {
	s.mu.Lock()
	s.look = look
	s.mu.Unlock()
}

// A journal keeps the log of a broker.
type journal struct {
	mu      sync.Mutex // guards the following
	lines   strings.Builder
	records []record
}

// record is one line of the log.
type record map[string]any

func (r record) text(attr string) string {
	s, _ := r[attr].(string)
	return s
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(j, nil)) }

// Write takes one line.
func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines.Write(b)
	var r record
	err := json.Unmarshal(b, &r)
	j.records = append(j.records, r)
	return len(b), err
}

// forget lets go of all lines.
func (j *journal) forget() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines.Reset()
	j.records = nil
}

func (j *journal) all() []record {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]record(nil), j.records...)
}

func (j *journal) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lines.String()
}
