package access

import (
	"crypto/pbkdf2"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// A Hash is what is kept of a password: enough to see whether another is the same.
type Hash struct {
	text      string
	kind      hashKind
	salt, sum []byte
	// time, memoryKiB and lanes are the cost of argon2id; for PBKDF2 time is the number
	// of iterations.
	time, memoryKiB uint32
	lanes           uint8
}

type hashKind uint8

const (
	argon2id     hashKind = iota // $argon2id$v=19$m=7168,t=5,p=1$salt$sum, as in PHC strings
	saltedSHA512                 // $6$salt$sum, Mosquitto's; crypt's of that name is another
	pbkdf2SHA512                 // $7$iterations$salt$sum, Mosquitto's
)

// The cost of the hashes that NewHash makes. It is one of the choices that OWASP holds equal
// (2025), that with the least memory: a login takes 7 MiB, which a small machine has and the
// garbage collector soon sees again, and does it in parts of 2 ms, between which others run.
const (
	hashPasses    = 5
	hashMemoryKiB = 7168
	hashLanes     = 1
	hashSumBytes  = 32
)

// SaltBytes is how much salt NewHash wants.
const SaltBytes = 16

// What a Hash may cost. Whoever writes password files could else stop the broker with a
// number.
const (
	argon2MemoryKiBMax = 128 << 10
	argon2WorkKiBMax   = 512 << 10 // of memory, counted once per pass: about half a second
	argon2LanesMax     = 16
	iterationsMax      = 1_000_000 // about as long
	saltBytesMax       = 128
	argon2SaltBytesMin = 8
	argon2SumBytesMin  = 16
	argon2SumBytesMax  = 64
	hashTextBytesMax   = 512
)

// NewHash makes the Hash of a password. salt is SaltBytes from a random generator.
func NewHash(password, salt []byte) *Hash {
	h := &Hash{kind: argon2id, salt: salt, time: hashPasses, memoryKiB: hashMemoryKiB, lanes: hashLanes, sum: make([]byte, hashSumBytes)}
	h.sum = h.compute(password)
	encode := base64.RawStdEncoding.EncodeToString
	h.text = fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memoryKiB, h.time, h.lanes, encode(h.salt), encode(h.sum))
	return h
}

// String returns the Hash as ParseHash takes it. It is a secret: who has it can try passwords.
func (h *Hash) String() string { return h.text }

// Matches reports whether this is the password. How long it takes depends on the Hash alone,
// and a little on the length of the password.
func (h *Hash) Matches(password []byte) bool {
	return subtle.ConstantTimeCompare(h.compute(password), h.sum) == 1
}

func (h *Hash) compute(password []byte) []byte {
	switch h.kind {
	case saltedSHA512:
		d := sha512.New()
		d.Write(password)
		d.Write(h.salt)
		return d.Sum(nil)
	case pbkdf2SHA512:
		sum, err := pbkdf2.Key(sha512.New, string(password), h.salt, int(h.time), len(h.sum))
		if err != nil { // the length is that of a sum; with GODEBUG=fips140=only short salts are refused
			return nil
		}
		return sum
	}
	return argon2.IDKey(password, h.salt, h.time, h.memoryKiB, h.lanes, uint32(len(h.sum)))
}

var errNoHash = errors.New("it is not the hash of a password")

// ParseHash reads a Hash: argon2id as a PHC string, which this broker and Mosquitto 2.1 write,
// or Mosquitto's $7$ and $6$. Its error never repeats the text, which may be a password.
func ParseHash(text string) (*Hash, error) {
	if len(text) > hashTextBytesMax || strings.ContainsAny(text, "\r\n") { // which package base64 would skip
		return nil, errNoHash
	}
	fields := strings.Split(text, "$")
	if len(fields) < 3 || fields[0] != "" {
		return nil, errNoHash
	}
	h, err := &Hash{text: text}, error(nil)
	switch fields[1] {
	case "argon2id":
		err = h.parseArgon2(fields[2:])
	case "7":
		err = h.parsePBKDF2(fields[2:])
	case "6":
		err = h.parseSHA512(fields[2:])
	case "argon2i", "argon2d":
		err = errors.New("of argon2 only argon2id is taken")
	case "2a", "2b", "2y", "1", "5", "y":
		err = fmt.Errorf("$%s$ is a hash of another kind: argon2id, and Mosquitto's $6$ and $7$, are taken", fields[1])
	default:
		err = errNoHash
	}
	if err != nil {
		return nil, err
	}
	return h, nil
}

func (h *Hash) parseArgon2(fields []string) error {
	if len(fields) != 4 {
		return errors.New("argon2id: it is not $argon2id$v=19$m=…,t=…,p=…$salt$hash")
	}
	if fields[0] != "v=19" {
		return errors.New("argon2id: only version 19 is taken (v=19)")
	}
	costs := strings.Split(fields[1], ",")
	if len(costs) != 3 {
		return errors.New("argon2id: its cost is not m=…,t=…,p=…")
	}
	memory, err := costOf(costs[0], "m=", argon2MemoryKiBMax)
	if err != nil {
		return fmt.Errorf("argon2id: m, the memory in KiB, %w", err)
	}
	passes, err := costOf(costs[1], "t=", argon2WorkKiBMax/memory)
	if err != nil {
		return fmt.Errorf("argon2id: t, the number of passes over %d KiB, %w", memory, err)
	}
	lanes, err := costOf(costs[2], "p=", argon2LanesMax)
	switch {
	case err != nil:
		return fmt.Errorf("argon2id: p, the number of lanes, %w", err)
	case memory < 8*lanes:
		return fmt.Errorf("argon2id: m, the memory in KiB, is less than 8 for each lane")
	}
	h.kind, h.memoryKiB, h.time, h.lanes = argon2id, memory, passes, uint8(lanes)
	if h.salt, err = base64.RawStdEncoding.Strict().DecodeString(fields[2]); err != nil || len(h.salt) < argon2SaltBytesMin || len(h.salt) > saltBytesMax {
		return fmt.Errorf("argon2id: the salt is not %d to %d bytes in base64", argon2SaltBytesMin, saltBytesMax)
	}
	if h.sum, err = base64.RawStdEncoding.Strict().DecodeString(fields[3]); err != nil || len(h.sum) < argon2SumBytesMin || len(h.sum) > argon2SumBytesMax {
		return fmt.Errorf("argon2id: the hash is not %d to %d bytes in base64", argon2SumBytesMin, argon2SumBytesMax)
	}
	return nil
}

func (h *Hash) parsePBKDF2(fields []string) (err error) {
	if len(fields) != 3 {
		return errors.New("$7$: it is not $7$iterations$salt$hash")
	}
	h.kind = pbkdf2SHA512
	if h.time, err = costOf(fields[0], "", iterationsMax); err != nil {
		return fmt.Errorf("$7$: the number of iterations %w", err)
	}
	return h.parseSaltAndSum("$7$", fields[1:])
}

func (h *Hash) parseSHA512(fields []string) error {
	if len(fields) == 3 || len(fields) == 2 && len(fields[1]) == sha512CryptLen {
		return errors.New("$6$: this is a hash of crypt (sha512-crypt), not Mosquitto's $6$salt$hash")
	}
	if len(fields) != 2 {
		return errors.New("$6$: it is not $6$salt$hash")
	}
	h.kind = saltedSHA512
	return h.parseSaltAndSum("$6$", fields)
}

// sha512CryptLen is how long the hash of sha512-crypt is, which has no padding.
const sha512CryptLen = 86

// parseSaltAndSum reads what Mosquitto writes, in base64 with padding.
func (h *Hash) parseSaltAndSum(kind string, fields []string) (err error) {
	if h.salt, err = base64.StdEncoding.Strict().DecodeString(fields[0]); err != nil || len(h.salt) == 0 || len(h.salt) > saltBytesMax {
		return fmt.Errorf("%s: the salt is not 1 to %d bytes in base64", kind, saltBytesMax)
	}
	if h.sum, err = base64.StdEncoding.Strict().DecodeString(fields[1]); err != nil || len(h.sum) != sha512.Size {
		return fmt.Errorf("%s: the hash is not %d bytes in base64; was the line cut off?", kind, sha512.Size)
	}
	return nil
}

// costOf reads a number from 1 to most, in the only way to write it.
func costOf(text, name string, most uint32) (uint32, error) {
	digits, found := strings.CutPrefix(text, name)
	n, err := strconv.ParseUint(digits, 10, 32)
	if !found || err != nil || n < 1 || n > uint64(most) || digits != strconv.FormatUint(n, 10) {
		return 0, fmt.Errorf("is not a number from 1 to %d", most)
	}
	return uint32(n), nil
}
