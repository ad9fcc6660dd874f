package login

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"

	"github.com/xdg-go/scram"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/codec"
)

// SCRAMSHA256 is the Authentication Method of that name. RFC 7677.
const SCRAMSHA256 = "SCRAM-SHA-256"

// SCRAMUsers are the users that can log in by SCRAM.
type SCRAMUsers interface {
	// SCRAMKeys returns the keys of a user, and who is let in by them; nil: there is no
	// such user, it is disabled, or it has no keys. The caller changes neither.
	SCRAMKeys(ctx context.Context, user string) (*access.SCRAMKeys, *access.Identity, error)
}

// SCRAM is an Authentication Method for users. secret makes the salts of users that do not
// exist: the same ones after a restart too, if it is the same.
type SCRAM struct {
	users  SCRAMUsers
	secret [sha256.Size]byte
}

// NewSCRAM returns a SCRAM for users.
func NewSCRAM(users SCRAMUsers, secret [sha256.Size]byte) *SCRAM {
	return &SCRAM{users: users, secret: secret}
}

// Exchange begins an exchange, as a Method of a Chain.
func (s *SCRAM) Exchange(a *access.Attempt) access.Exchange {
	e := &scramExchange{users: s, user: a.User, hasUser: a.HasUser}
	server, err := scram.SHA256.NewServer(e.lookUp)
	if err == nil {
		e.conversation = server.NewConversation()
	}
	return e
}

// User is whose password is to be proved; "" before the first message.
func (e *scramExchange) User() string {
	if e.conversation == nil {
		return ""
	}
	return e.conversation.Username()
}

// scramDataMax is the most Authentication Data of one step: names, nonces and a proof.
const scramDataMax = 4096

// A scramExchange is the conversation with one Client.
type scramExchange struct {
	users        *SCRAM
	user         string // of CONNECT
	hasUser      bool
	conversation *scram.ServerConversation

	ctx context.Context // of the step under way, for lookUp
	who *access.Identity
	err error // of the users
}

// Next takes client-first-message and client-final-message. RFC 5802, section 5.
func (e *scramExchange) Next(ctx context.Context, data []byte) (reply []byte, who *access.Identity, err error) {
	if len(data) > scramDataMax {
		return nil, nil, badSCRAM("scram-malformed", "Authentication Data of SCRAM that is too large")
	}
	if e.conversation == nil || e.conversation.Done() {
		return nil, nil, badSCRAM("scram-malformed", "the SCRAM exchange is over")
	}
	first := e.conversation.Username() == ""
	e.ctx = ctx
	said, err := e.conversation.Step(string(data))
	e.ctx = nil
	switch {
	case e.err != nil:
		return nil, nil, &access.Refusal{Reason: codec.ServerUnavailable, Cause: "source-failed", Detail: e.err.Error()}
	case err != nil && first:
		return nil, nil, badSCRAM("scram-malformed", "a first SCRAM message that is malformed or asks for what is not done here")
	case err != nil: // what err says may have parts of the proof
		return nil, nil, badSCRAM("bad-password", "the SCRAM proof is wrong, or of a user that is not there")
	case !e.conversation.Valid():
		return []byte(said), nil, e.check()
	case e.who == nil: // a proof for keys that nobody has
		return nil, nil, badSCRAM("bad-password", "the SCRAM proof is wrong, or of a user that is not there")
	}
	return []byte(said), e.who, nil
}

// check refuses names that contradict each other, when the first message has told them.
func (e *scramExchange) check() error {
	name := e.conversation.Username()
	if id := e.conversation.AuthzID(); !usableName(name) || id != "" && id != name || e.hasUser && e.user != name {
		return badSCRAM("scram-names", "the user of SCRAM is not the one of the User Name or of the authorization identity")
	}
	return nil
}

// lookUp returns the keys of a user, and for one that is not there some that look the same and
// that no password has.
func (e *scramExchange) lookUp(user string) (scram.StoredCredentials, error) {
	invented := e.users.invent(user) // always, so that it takes the same time
	keys, who, err := e.users.users.SCRAMKeys(e.ctx, user)
	if err != nil {
		e.err = err
		return scram.StoredCredentials{}, errors.New("the users cannot be asked")
	}
	if keys == nil || who == nil {
		keys, who = invented, nil
	}
	e.who = who
	return scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(keys.Salt), Iters: keys.Iterations},
		StoredKey:  keys.StoredKey, ServerKey: keys.ServerKey,
	}, nil
}

func (s *SCRAM) invent(user string) *access.SCRAMKeys {
	part := func(what string) []byte {
		mac := hmac.New(sha256.New, s.secret[:])
		mac.Write([]byte(what + "\x00" + user))
		return mac.Sum(nil)
	}
	return &access.SCRAMKeys{
		Salt: part("salt")[:access.SCRAMSaltBytes], Iterations: access.SCRAMIterations,
		StoredKey: part("stored"), ServerKey: part("server"),
	}
}

func badSCRAM(cause, detail string) error {
	reason := codec.NotAuthorized
	if cause == "scram-malformed" {
		reason = codec.ProtocolError
	}
	return &access.Refusal{Reason: reason, Cause: cause, Detail: detail}
}
