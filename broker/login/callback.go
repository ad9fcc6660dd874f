package login

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/codec"
)

// CallbackOptions say which directory of users is asked over HTTP, and how.
type CallbackOptions struct {
	URL    string // "": none is
	CAFile string // authorities for it, in PEM; "": those of the system
	// Timeout is for each login, the wait for one of Concurrency places included.
	Timeout     time.Duration
	Concurrency int
	// CacheTime and CacheDenyTime are how long an answer that lets a Client in, or does not,
	// holds for the same credentials; 0: it does not. CacheSize is the most of each kind.
	CacheTime, CacheDenyTime time.Duration
	CacheSize                int
	// After BreakerFailures in a row the directory is not asked for BreakerPause.
	BreakerFailures int
	BreakerPause    time.Duration
}

// DefaultCallbackOptions returns what holds when nothing is said: no directory.
func DefaultCallbackOptions() CallbackOptions {
	return CallbackOptions{
		Timeout: 5 * time.Second, Concurrency: 16, CacheTime: time.Minute, CacheDenyTime: 5 * time.Second, CacheSize: 10000,
		BreakerFailures: 5, BreakerPause: 10 * time.Second,
	}
}

// CallbackEvents tells of what becomes of a Callback; nothing is nil.
type CallbackEvents struct {
	// Asked counts logins by outcome: one of CallbackOutcomes.
	Asked func(outcome string)
	// Failed says why a directory did not answer as it should; opened: it is not asked for
	// a while. It is called for each failure.
	Failed func(err error, opened bool)
}

// The outcomes of logins that a Callback was asked about.
const (
	CallbackAllowed  = "allow"
	CallbackDenied   = "deny"
	CallbackIgnored  = "ignore"
	CallbackCached   = "cached"
	CallbackFailed   = "failed"
	CallbackNotAsked = "breaker-open"
	CallbackBusy     = "busy"
)

// answerBytesMax is the size of an answer, which has a name and lists of names.
const answerBytesMax = 256 << 10

// A Callback lets Clients in that a directory of the operator's knows.
type Callback struct {
	o       CallbackOptions
	client  *http.Client
	places  chan struct{}
	answers *answers
	breaker breaker
	events  CallbackEvents
	now     func() time.Time
}

// NewCallback reads the file that o names. now is the clock.
func NewCallback(o CallbackOptions, now func() time.Time, events CallbackEvents) (*Callback, SettingErrors) {
	client, fault := newWebClient("auth.http.ca-file", o.CAFile, o.Concurrency)
	if fault != nil {
		return nil, SettingErrors{fault}
	}
	return &Callback{
		o: o, client: client, places: make(chan struct{}, o.Concurrency), answers: newAnswers(o.CacheSize),
		breaker: breaker{failuresMax: o.BreakerFailures, pause: o.BreakerPause}, events: events, now: now,
	}, nil
}

// loginRequest is what the directory is told.
type loginRequest struct {
	ClientID           string  `json:"client_id"`
	User               *string `json:"user"`     // null: CONNECT has none
	Password           *string `json:"password"` // likewise
	Address            string  `json:"address"`
	Listener           string  `json:"listener"`
	CertificateSubject string  `json:"certificate_subject,omitempty"`
}

// loginAnswer is what it says.
type loginAnswer struct {
	Allow  *bool      `json:"allow"`
	Ignore bool       `json:"ignore"`
	User   *string    `json:"user"` // null: that of CONNECT
	Groups []string   `json:"groups"`
	Rules  ruleLines  `json:"rules"`
	Until  *time.Time `json:"until"`
}

// ruleLines are those of an answer; nil: it has no list of them. null is none: it would be as
// if nothing were said.
type ruleLines []string

// UnmarshalJSON implements json.Unmarshaler.
func (l *ruleLines) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return errors.New("null is no list of rules")
	}
	return json.Unmarshal(text, (*[]string)(l))
}

// Authenticate asks the directory. While that does not answer nobody is let in.
func (c *Callback) Authenticate(ctx context.Context, a *access.Attempt) (*access.Identity, error) {
	request, q, err := c.describe(a)
	if err != nil {
		return nil, err
	}
	if known, found := c.answers.find(q, c.now()); found {
		c.events.Asked(CallbackCached)
		return known.who, known.err
	}
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	select {
	case c.places <- struct{}{}:
		defer func() { <-c.places }()
	case <-ctx.Done():
		c.events.Asked(CallbackBusy)
		return nil, &access.Refusal{Reason: codec.ServerUnavailable, Cause: "callback-busy", Detail: "too many logins wait for auth.http.url"}
	}
	may, probe := c.breaker.enter(c.now())
	if !may {
		c.events.Asked(CallbackNotAsked)
		return nil, &access.Refusal{Reason: codec.ServerUnavailable, Cause: "callback-down", Detail: "auth.http.url does not answer, and is not asked for a while"}
	}
	o := failed // also of a panic
	defer func() {
		opened := c.breaker.leave(c.now(), probe, o)
		if err != nil && o == failed {
			c.events.Failed(err, opened)
		}
	}()
	var said loginAnswer
	if said, err = c.post(ctx, request); err == nil {
		err = said.check()
	}
	var rules []access.Rule
	if err == nil {
		if rules, err = rulesOf(said.Rules, "the answer of auth.http.url"); err != nil {
			err = errors.New("a rule of the answer cannot be read")
		}
	}
	if err != nil {
		if errors.Is(context.Cause(ctx), context.Canceled) {
			o = givenUp
		}
		c.events.Asked(CallbackFailed)
		return nil, &access.Refusal{Reason: codec.ServerUnavailable, Cause: "callback-failed", Detail: "auth.http.url: " + err.Error()}
	}
	o = answered
	return c.take(a, q, &said, rules)
}

// describe makes the request of what is known of the Client, and what its answer is kept for.
func (c *Callback) describe(a *access.Attempt) (request []byte, q question, err error) {
	if !utf8.Valid(a.Password) { // JSON has no form for it
		return nil, q, ErrNotMine
	}
	r := loginRequest{ClientID: a.ClientID, Listener: a.Listener}
	if a.HasUser {
		r.User = &a.User
	}
	if a.HasPassword {
		password := string(a.Password)
		r.Password = &password
	}
	if a.Address.IsValid() {
		r.Address = a.Address.String()
	}
	if a.Certificate != nil {
		r.CertificateSubject = a.Certificate.Subject.String()
	}
	if request, err = json.Marshal(&r); err != nil {
		return nil, q, ErrNotMine
	}
	return request, c.answers.question(request), nil
}

// post asks. What the error says has nothing of the request and of the answer.
func (c *Callback) post(ctx context.Context, body []byte) (said loginAnswer, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.o.URL, bytes.NewReader(body))
	if err != nil {
		return said, withoutURL(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	response, err := c.client.Do(request)
	if err != nil {
		return said, withoutURL(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, answerBytesMax+1))
	switch {
	case response.StatusCode != http.StatusOK:
		return said, fmt.Errorf("the answer has the status %d", response.StatusCode)
	case err != nil:
		return said, err
	case len(text) > answerBytesMax:
		return said, fmt.Errorf("the answer is larger than %d bytes", answerBytesMax)
	}
	if json.Unmarshal(text, &said) != nil {
		return said, errors.New("the answer is not the JSON that is expected")
	}
	return said, nil
}

// check says what keeps an answer from being one.
func (s *loginAnswer) check() error {
	notName := func(name string) bool { return !usableName(name) }
	switch {
	case (s.Allow == nil) == !s.Ignore:
		return errors.New(`the answer has not one of "allow" and "ignore"`)
	case len(s.Groups) > identityListMax || len(s.Rules) > identityListMax:
		return fmt.Errorf("the answer has more than %d groups or rules", identityListMax)
	case slices.ContainsFunc(s.Groups, notName) || s.User != nil && *s.User != "" && notName(*s.User):
		return errors.New("the answer has a name that is none")
	}
	return nil
}

// take makes what the broker is told of an answer, and keeps it.
func (c *Callback) take(a *access.Attempt, q question, said *loginAnswer, rules []access.Rule) (who *access.Identity, err error) {
	now, kept := c.now(), c.o.CacheDenyTime
	var outcome string
	switch {
	case said.Ignore:
		outcome, err = CallbackIgnored, ErrNotMine
	case !*said.Allow || said.Until != nil && !now.Before(*said.Until):
		outcome, err = CallbackDenied, &access.Refusal{Reason: codec.BadUserNameOrPassword, Cause: "callback-denied", Detail: "auth.http.url does not let it in"}
	default:
		outcome, kept = CallbackAllowed, c.o.CacheTime
		who = &access.Identity{User: a.User, Groups: said.Groups, Rules: rules, Method: access.ByCallback}
		if said.User != nil {
			who.User = *said.User
		}
		if said.Until != nil {
			who.Until = *said.Until
		}
	}
	c.events.Asked(outcome)
	until := now.Add(kept)
	if who != nil && !who.Until.IsZero() && who.Until.Before(until) {
		until = who.Until
	}
	if now.Before(until) && c.o.CacheSize > 0 {
		c.answers.keep(answer{to: q, who: who, err: err, until: until})
	}
	return who, err
}

// Open reports whether the directory does not answer and is not asked.
func (c *Callback) Open() bool { return c.breaker.isOpen() }
