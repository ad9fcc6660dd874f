package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/terminal"
)

type topCommand struct {
	place
	Sort  string        `default:"rate" enum:"rate,in,out,queued,dropped" placeholder:"COLUMN" help:"rate, in, out, queued or dropped. Default: rate, which is in and out."`
	Every time.Duration `default:"2s" placeholder:"DURATION" help:"Time between two looks. Default: 2s."`
	Once  bool          `help:"Look twice, print what was between, and end; so it is if standard output is no terminal."`
}

// Validate checks the flags.
func (c *topCommand) Validate() error {
	if c.Every < 200*time.Millisecond {
		return errors.New("--every is 200ms or more")
	}
	return nil
}

// Run implements the command.
func (c *topCommand) Run() error {
	return c.ask(func(ctx context.Context, a *administered) error {
		ctx, restore := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
		defer restore()
		t := &top{command: c, a: a, view: topView{sort: c.Sort}}
		screen, err := terminal.Open(os.Stdin, os.Stdout)
		switch {
		case c.Once, errors.Is(err, terminal.ErrNoTerminal):
			return errors.Join(t.once(ctx), closeScreen(screen))
		case err != nil:
			return err
		}
		return errors.Join(t.watch(ctx, screen), screen.Close())
	})
}

func closeScreen(s *terminal.Screen) error {
	if s == nil {
		return nil
	}
	return s.Close()
}

// A top looks at a broker again and again.
type top struct {
	command *topCommand
	a       *administered
	view    topView
	before  *topSample
}

// once prints what happened between two looks.
func (t *top) once(ctx context.Context) error {
	if err := t.look(ctx); err != nil {
		return err
	}
	sampled := t.sampleTopics(ctx) // which takes the time between two looks
	if ctx.Err() != nil {
		return nil
	}
	if err := t.look(ctx); err != nil {
		return err
	}
	t.view.showTopics(sampled)
	_, err := fmt.Println(strings.Join(t.view.lines(0, 0), "\n"))
	return err
}

// watch draws until somebody ends it.
func (t *top) watch(ctx context.Context, s *terminal.Screen) error {
	ticks := time.NewTicker(t.command.Every)
	defer ticks.Stop()
	if err := t.look(ctx); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	samples := t.sample(ctx)
	for {
		if err := s.Draw(t.view.lines(s.Size())); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.Resized:
		case key, open := <-s.Keys:
			if !open || key == terminal.Interrupt || key == 'q' {
				return nil
			}
			t.view.key(key)
		case s := <-samples:
			t.view.showTopics(s)
		case <-ticks.C:
			if err := t.look(ctx); err != nil {
				return endOfWatch(ctx, err)
			}
		}
	}
}

// endOfWatch is no error if somebody has ended it.
func endOfWatch(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// A topSample is what is seen at a time.
type topSample struct {
	numbers inspect.Numbers
	clients map[string]*inspect.Client
}

// lookedAt are the columns by which those clients are found that a look has: the first 1,000 of each.
var lookedAt = []string{"messages_in", "messages_out", "queued", "dropped"}

// look asks, and has the view show the difference to what was seen before.
func (t *top) look(ctx context.Context) error {
	now := &topSample{clients: make(map[string]*inspect.Client)}
	n, err := admin.Call[inspect.Numbers](ctx, t.a.Client, http.MethodGet, "/numbers", nil)
	if err != nil {
		return err
	}
	now.numbers = *n
	for _, column := range lookedAt {
		rows, err := rowsOf[inspect.Client](ctx, t.a, "/clients", query("sort", column, "order", "desc"), partRows)
		if err != nil {
			return err
		}
		for i := range rows.Items {
			now.clients[rows.Items[i].ID] = &rows.Items[i]
		}
		if rows.Next == "" {
			break // these are all
		}
	}
	t.view.show(t.before, now)
	t.before = now
	return nil
}

// A topRow is a client, and what it did since the last look, per second.
type topRow struct {
	*inspect.Client
	in, out, dropped float64
}

// A topView is what is shown, and how.
type topView struct {
	sort    string
	paused  bool
	rows    []topRow
	numbers inspect.Numbers
	in, out float64 // messages a second of all
	dropped float64
	// topics are those that were sampled, the busiest first.
	topics        []topicRow
	topicsRefused string // why there are none
	// measured: there were two looks, so that rates are known.
	measured bool
}

// show takes over what was seen now. before is nil the first time.
func (v *topView) show(before, now *topSample) {
	if v.paused {
		return
	}
	v.numbers, v.rows = now.numbers, v.rows[:0]
	var seconds float64
	v.measured = before != nil
	if before != nil {
		seconds = now.numbers.At.Sub(before.numbers.At).Seconds()
		v.in = rate(total(before.numbers.MessagesIn), total(now.numbers.MessagesIn), seconds)
		v.out = rate(total(before.numbers.MessagesOut), total(now.numbers.MessagesOut), seconds)
		v.dropped = rate(sum(before.numbers.Dropped), sum(now.numbers.Dropped), seconds)
	}
	for id, c := range now.clients {
		row := topRow{Client: c}
		if before != nil {
			was := before.clients[id]
			if was != nil {
				row.dropped = rate(was.Dropped, c.Dropped, seconds)
			}
			switch {
			case !c.ConnectedAt.Before(before.numbers.At): // since then it has counted from zero
				was = new(inspect.Client)
			case was == nil: // it was there and not seen: nothing is known of its rate
				was = c
			}
			row.in, row.out = rate(was.MessagesIn, c.MessagesIn, seconds), rate(was.MessagesOut, c.MessagesOut, seconds)
		}
		v.rows = append(v.rows, row)
	}
	v.order()
}

func rate(before, now uint64, seconds float64) float64 {
	if seconds <= 0 || now < before {
		return 0
	}
	return float64(now-before) / seconds
}

func total(byQoS [3]uint64) uint64 { return byQoS[0] + byQoS[1] + byQoS[2] }

func sum(byReason map[string]uint64) (n uint64) {
	for _, m := range byReason {
		n += m
	}
	return n
}

// order sorts the rows, the most first.
func (v *topView) order() {
	slices.SortFunc(v.rows, func(a, b topRow) int {
		if x, y := v.sortedBy(&a), v.sortedBy(&b); x != y {
			if x > y {
				return -1
			}
			return 1
		}
		return strings.Compare(a.ID, b.ID)
	})
}

func (v *topView) sortedBy(r *topRow) float64 {
	switch v.sort {
	case "in":
		return r.in
	case "out":
		return r.out
	case "queued":
		return float64(r.Queued)
	case "dropped":
		return r.dropped
	}
	return r.in + r.out
}

// key does what a key says.
func (v *topView) key(key rune) {
	switch key {
	case 'r':
		v.sort = "rate"
	case 'i':
		v.sort = "in"
	case 'o':
		v.sort = "out"
	case 'u':
		v.sort = "queued"
	case 'd':
		v.sort = "dropped"
	case 'p':
		v.paused = !v.paused
	}
	v.order()
}
