package broker_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/session"
	"github.com/x0a1b/promptmq/store"
)

// A slowStore calls loading while it is loaded.
type slowStore struct {
	*store.DB
	loading func()
}

func (s *slowStore) Load(each func(*session.Loaded) error, eachRetained func(string, *session.RetainedWrite) error) error {
	s.loading()
	return s.DB.Load(each, eachRetained)
}

// TestNobodyIsServedBeforeTheLoad: as long as the store is not loaded, nobody can
// connect and be told that a Session is not there.
func TestNobodyIsServedBeforeTheLoad(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opts := broker.DefaultOptions()
	opts.Bind, opts.WSBind = l.Addr().String(), ""
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	o := store.DefaultOptions()
	o.DataDir = t.TempDir()
	db, err := store.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var b *broker.Broker
	s := &slowStore{DB: db, loading: func() {
		if b.Ready() == nil {
			t.Error("ready while the store is loaded")
		}
		if c, err := net.Dial("tcp", opts.Bind); err == nil {
			_ = c.Close()
			t.Error("a connection is taken while the store is loaded")
		}
	}}
	if b, err = broker.New(opts, s); err != nil {
		t.Fatal(err)
	}
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := b.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}
