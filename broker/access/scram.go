package access

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/xdg-go/stringprep"
)

// SCRAMKeys let the Server check a password by SCRAM-SHA-256 without having it: RFC 5802,
// section 3, and RFC 7677. Who steals them still has to guess the password to log in, but
// faster than with argon2id; they are kept as secret as a password hash.
type SCRAMKeys struct {
	Salt       []byte
	Iterations int
	StoredKey  []byte // sha256.Size bytes each
	ServerKey  []byte
}

const (
	// SCRAMIterations is what new keys have. RFC 7677 asks for 4096 or more; each costs the
	// Client a hash at every login.
	SCRAMIterations    = 15000
	scramIterationsMin = 4096
	scramIterationsMax = 10_000_000
	// SCRAMSaltBytes is the size of the salt of new keys.
	SCRAMSaltBytes   = 16
	scramSaltMax     = 64
	scramTextPrefix  = "SCRAM-SHA-256$"
	scramPasswordMax = 65535
)

// NewSCRAMKeys returns the keys of a password, which should have a salt of SCRAMSaltBytes
// random bytes to itself. It fails for a password that SCRAM cannot have: one with control
// characters, or that is no UTF-8. It takes milliseconds.
func NewSCRAMKeys(password, salt []byte, iterations int) (k SCRAMKeys, err error) {
	if len(password) == 0 || len(password) > scramPasswordMax {
		return k, errors.New("a password for SCRAM has from 1 to 65535 bytes")
	}
	prepared, err := stringprep.SASLprep.Prepare(string(password))
	if err != nil {
		return k, errors.New("a password for SCRAM is UTF-8 without control characters") // what err says repeats a part of it
	}
	salted, err := pbkdf2.Key(sha256.New, prepared, salt, iterations, sha256.Size)
	if err != nil {
		return k, err
	}
	stored := sha256.Sum256(macOf(salted, "Client Key"))
	return SCRAMKeys{Salt: salt, Iterations: iterations, StoredKey: stored[:], ServerKey: macOf(salted, "Server Key")}, nil
}

func macOf(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// String is the text that ParseSCRAMKeys reads, as PostgreSQL writes it:
// SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey, in base64.
func (k SCRAMKeys) String() string {
	b := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%s%d:%s$%s:%s", scramTextPrefix, k.Iterations, b(k.Salt), b(k.StoredKey), b(k.ServerKey))
}

var errSCRAMText = errors.New("this is no SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey")

// ParseSCRAMKeys reads what String wrote. Its error repeats nothing of the text.
func ParseSCRAMKeys(text string) (k SCRAMKeys, err error) {
	rest, found := strings.CutPrefix(text, scramTextPrefix)
	how, keys, cut := strings.Cut(rest, "$")
	iterations, salt, cutHow := strings.Cut(how, ":")
	stored, server, cutKeys := strings.Cut(keys, ":")
	if !found || !cut || !cutHow || !cutKeys {
		return k, errSCRAMText
	}
	n, err := strconv.Atoi(iterations)
	if err != nil || n < scramIterationsMin || n > scramIterationsMax {
		return k, fmt.Errorf("the iterations of SCRAM keys are a number from %d to %d", scramIterationsMin, scramIterationsMax)
	}
	k.Iterations = n
	for _, part := range []struct {
		text string
		into *[]byte
	}{{salt, &k.Salt}, {stored, &k.StoredKey}, {server, &k.ServerKey}} {
		if *part.into, err = base64.StdEncoding.Strict().DecodeString(part.text); err != nil {
			return SCRAMKeys{}, errSCRAMText
		}
	}
	if len(k.Salt) == 0 || len(k.Salt) > scramSaltMax || len(k.StoredKey) != sha256.Size || len(k.ServerKey) != sha256.Size {
		return SCRAMKeys{}, errSCRAMText
	}
	return k, nil
}
