package login

import (
	"container/list"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"

	"github.com/x0a1b/promptmq/broker/access"
)

// A question is the hash, with a key of this process, of all that a callback is told: what it
// answered holds for the same again, and nothing of the credentials is kept.
type question [sha256.Size]byte

// answers are what a callback has said lately. Those that let a Client in and those that do
// not have room of their own: who guesses does not push out who is known.
type answers struct {
	key   [32]byte
	mu    sync.Mutex // guards the following
	kept  [2]answerList
	limit int // of each
}

// An answerList has answers, the one that was asked for longest ago first.
type answerList struct {
	by    map[question]*list.Element // of *answer
	order list.List
}

type answer struct {
	to    question
	who   *access.Identity // nil: it was no
	err   error            // then
	until time.Time
}

func newAnswers(limit int) *answers {
	a := &answers{limit: limit}
	_, _ = rand.Read(a.key[:]) // cannot fail
	for i := range a.kept {
		a.kept[i].by = make(map[question]*list.Element)
	}
	return a
}

// question is what text asks.
func (a *answers) question(text []byte) (q question) {
	h := hmac.New(sha256.New, a.key[:])
	h.Write(text)
	h.Sum(q[:0])
	return q
}

// find returns what was answered, if that still holds at that time.
func (a *answers) find(q question, now time.Time) (answer, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.kept {
		l := &a.kept[i]
		e, found := l.by[q]
		if !found {
			continue
		}
		if got := e.Value.(*answer); now.Before(got.until) {
			l.order.MoveToBack(e)
			return *got, true
		}
		l.order.Remove(e)
		delete(l.by, q)
	}
	return answer{}, false
}

// keep remembers an answer.
func (a *answers) keep(got answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := &a.kept[0]
	if got.who == nil {
		l = &a.kept[1]
	}
	if e, found := l.by[got.to]; found {
		e.Value = &got
		l.order.MoveToBack(e)
		return
	}
	if l.order.Len() >= a.limit {
		oldest := l.order.Front()
		l.order.Remove(oldest)
		delete(l.by, oldest.Value.(*answer).to)
	}
	l.by[got.to] = l.order.PushBack(&got)
}

// len is how many there are.
func (a *answers) len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.kept[0].by) + len(a.kept[1].by)
}
