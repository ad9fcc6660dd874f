package login

import (
	"context"
	"errors"
	"testing"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/codec"
)

// sourceFunc is a Source.
type sourceFunc func(a *access.Attempt) (*access.Identity, error)

func (f sourceFunc) Authenticate(_ context.Context, a *access.Attempt) (*access.Identity, error) {
	return f(a)
}

func notMine(*access.Attempt) (*access.Identity, error) { return nil, ErrNotMine }

// knows returns a source with one user, whose password is "right".
func knows(user string) sourceFunc {
	return func(a *access.Attempt) (*access.Identity, error) {
		switch {
		case a.User != user:
			return nil, ErrNotMine
		case string(a.Password) != "right":
			return nil, &access.Refusal{Reason: codec.BadUserNameOrPassword, Cause: "bad-password"}
		}
		return &access.Identity{User: user, Method: access.ByPassword}, nil
	}
}

// Who a Client is, for every combination of what it shows.
func TestAuthenticate(t *testing.T) {
	t.Parallel()
	some := []Source{sourceFunc(notMine), knows("ann"), knows("ben")}
	type attempt = access.Attempt
	withPassword := func(user, password, certificate string) attempt {
		return attempt{HasUser: true, User: user, HasPassword: true, Password: []byte(password), CertificateUser: certificate, MayBeNobody: true}
	}
	for name, test := range map[string]struct {
		attempt attempt
		sources []Source
		user    string
		method  access.Method
		refused codec.ReasonCode
	}{
		"first":                                 {withPassword("ann", "right", ""), some, "ann", access.ByPassword, 0},
		"second":                                {withPassword("ben", "right", ""), some, "ben", access.ByPassword, 0},
		"wrong":                                 {withPassword("ann", "wrong", ""), some, "", "", codec.BadUserNameOrPassword},
		"unknown":                               {withPassword("cid", "right", ""), some, "", "", codec.BadUserNameOrPassword},
		"empty":                                 {withPassword("ann", "", ""), some, "", "", codec.BadUserNameOrPassword},
		"password alone":                        {attempt{HasPassword: true, Password: []byte("right"), MayBeNobody: true}, some, "", "", codec.BadUserNameOrPassword},
		"user alone":                            {attempt{HasUser: true, User: "ann", MayBeNobody: true}, some, "", "", codec.BadUserNameOrPassword},
		"user alone, no source":                 {attempt{HasUser: true, User: "ann", MayBeNobody: true}, nil, "", access.ByNobody, 0},
		"user alone, no source, not anonymous":  {attempt{HasUser: true, User: "ann"}, nil, "", "", codec.NotAuthorized},
		"credentials, no source":                {withPassword("ann", "right", ""), nil, "", access.ByNobody, 0},
		"nobody":                                {attempt{MayBeNobody: true}, some, "", access.ByNobody, 0},
		"nobody, not allowed":                   {attempt{}, some, "", "", codec.NotAuthorized},
		"certificate":                           {attempt{CertificateUser: "dev"}, some, "dev", access.ByCertificate, 0},
		"certificate, no source":                {attempt{CertificateUser: "dev"}, nil, "dev", access.ByCertificate, 0},
		"certificate and its name":              {attempt{CertificateUser: "dev", HasUser: true, User: "dev"}, some, "dev", access.ByCertificate, 0},
		"certificate and another name":          {attempt{CertificateUser: "dev", HasUser: true, User: "ann", MayBeNobody: true}, some, "", "", codec.BadUserNameOrPassword},
		"certificate and credentials":           {withPassword("ann", "right", "dev"), some, "ann", access.ByPassword, 0},
		"certificate and wrong credentials":     {withPassword("ann", "wrong", "dev"), some, "", "", codec.BadUserNameOrPassword},
		"certificate, its name, wrong password": {withPassword("dev", "wrong", "dev"), some, "", "", codec.BadUserNameOrPassword},
		"says nothing":                          {withPassword("ann", "right", ""), []Source{sourceFunc(func(*attempt) (*access.Identity, error) { return nil, nil })}, "", "", codec.ServerUnavailable},
		"fails":                                 {withPassword("ann", "right", ""), []Source{sourceFunc(func(*attempt) (*access.Identity, error) { return nil, errors.New("down") }), knows("ann")}, "", "", codec.ServerUnavailable},
	} {
		c := newChain(t, nil)
		c.SetSources(test.sources...)
		who, err := c.Authenticate(t.Context(), &test.attempt)
		if test.refused != 0 {
			if r, ok := errors.AsType[*access.Refusal](err); !ok || r.Reason != test.refused || who != nil {
				t.Errorf("%s: %v, %v, want %v", name, who, err, test.refused)
			}
			continue
		}
		if err != nil || who.User != test.user || who.Method != test.method {
			t.Errorf("%s: %+v, %v, want %q by %s", name, who, err, test.user, test.method)
		}
	}
}
