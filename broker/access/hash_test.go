package access

import (
	"strings"
	"testing"
)

// Hashes of others: mosquitto_passwd 2.0.11, with -H sha512 and without, and the reference
// implementation of argon2 with what Mosquitto 2.1 and NewHash ask of it.
const (
	mosquittoSHA512 = "$6$8Aqx0FiX4i6hjIFG$urHD9R8ouW+r8SBy4m5XDieF5i9mVqTMDxDZBJuv3WYuDMg5+VXCACRE8o2f4Leu0WOi+2KEtVCjw5j2kjlAew=="
	mosquittoPBKDF2 = "$7$101$m+nj2/pcI1By1Y6x$A7Q4sBf/ntEsaQ8j+m4wlXx9ZAdfXaU4YEMo6j2UlNcz1Udsnj5chPDTKbxhmwrXWwe1HYdCXjvVHEf20RANcg=="
	mosquittoArgon2 = "$argon2id$v=19$m=47104,t=1,p=1$c29tZXNhbHQxMjM0NTY3OA$y6Os3UReUNDhPGz8K0W5ffwHGLa7Uf29EDaQip5Y3TvY++F50lUCoM0Rbvsmnmlh6Fhab6KEHHEOFV6B/6sT6g"
	referenceArgon2 = "$argon2id$v=19$m=7168,t=5,p=1$c29tZXNhbHQxMjM0NTY3OA$2VphZxpqdygEp5TgU9Ymd8V5MIgP0YMMMy5n0GWRAN0"
)

func TestHashesOfOthers(t *testing.T) {
	t.Parallel()
	for text, password := range map[string]string{
		mosquittoSHA512: "pass word:ü6", mosquittoPBKDF2: "secret7", mosquittoArgon2: "mosq21", referenceArgon2: "ours",
	} {
		h, err := ParseHash(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if !h.Matches([]byte(password)) {
			t.Errorf("%s does not match %q", text, password)
		}
		for _, wrong := range []string{"", password + " ", password[1:], strings.ToUpper(password), password + "\x00"} {
			if h.kind == pbkdf2SHA512 && strings.HasSuffix(wrong, "\x00") {
				continue // to HMAC it is the same key
			}
			if h.Matches([]byte(wrong)) {
				t.Errorf("%s matches %q", text, wrong)
			}
		}
		if h.String() != text {
			t.Errorf("%s is written as %s", text, h)
		}
	}
}

func TestNewHash(t *testing.T) {
	t.Parallel()
	h := NewHash([]byte("ours"), []byte("somesalt12345678"))
	if h.String() != referenceArgon2 {
		t.Errorf("%s, the reference implementation says %s", h, referenceArgon2)
	}
	if !h.Matches([]byte("ours")) || h.Matches([]byte("Ours")) {
		t.Error("it does not know its password")
	}
}

func TestParseHashRefuses(t *testing.T) {
	t.Parallel()
	for text, cause := range map[string]string{
		"":       "not the hash",
		"$":      "not the hash",
		"secret": "not the hash",
		"$6$":    "it is not $6$salt",
		"$8$x$y": "not the hash",
		"$7$0$m+nj2/pcI1By1Y6x$A7Q4sBf/ntEsaQ8j+m4wlXx9ZAdfXaU4YEMo6j2UlNcz1Udsnj5chPDTKbxhmwrXWwe1HYdCXjvVHEf20RANcg==": "number from 1 to 1000000",
		strings.Replace(mosquittoPBKDF2, "101", "0101", 1):                                                               "number from 1 to",
		strings.Replace(mosquittoPBKDF2, "101", "+101", 1):                                                               "number from 1 to",
		strings.Replace(mosquittoPBKDF2, "101", "1000001", 1):                                                            "number from 1 to 1000000",
		strings.Replace(mosquittoPBKDF2, "101", "-1", 1):                                                                 "number from 1 to",
		strings.TrimSuffix(mosquittoPBKDF2, "="):                                                                         "the hash is not 64 bytes",
		mosquittoPBKDF2 + "$":                                                                                            "it is not $7$",
		strings.Replace(mosquittoPBKDF2, "/ntE", "/\nntE", 1):                                                            "not the hash",
		"$6$rounds=5000$saltstring$" + strings.Repeat("a", sha512CryptLen):                                               "sha512-crypt",
		"$6$saltstring$" + strings.Repeat("a", sha512CryptLen):                                                           "sha512-crypt",
		"$2y$10$abcdefghijklmnopqrstuv":                                                                                  "another kind",
		strings.Replace(mosquittoArgon2, "argon2id", "argon2i", 1):                                                       "only argon2id",
		strings.Replace(mosquittoArgon2, "v=19", "v=16", 1):                                                              "version 19",
		strings.Replace(mosquittoArgon2, "m=47104", "m=4294967295", 1):                                                   "m, the memory",
		strings.Replace(mosquittoArgon2, "m=47104", "m=131073", 1):                                                       "m, the memory in KiB, is not a number from 1 to 131072",
		strings.Replace(mosquittoArgon2, "t=1", "t=12", 1):                                                               "t, the number of passes over 47104 KiB, is not a number from 1 to 11",
		strings.Replace(mosquittoArgon2, "t=1", "t=0", 1):                                                                "t, the number",
		strings.Replace(mosquittoArgon2, "p=1", "p=17", 1):                                                               "p, the number",
		strings.Replace(mosquittoArgon2, "m=47104", "m=7", 1):                                                            "less than 8",
		strings.Replace(mosquittoArgon2, "m=47104,t=1", "t=1,m=47104", 1):                                                "m, the memory",
		strings.Replace(mosquittoArgon2, "c29tZXNhbHQxMjM0NTY3OA", "", 1):                                                "the salt",
		mosquittoArgon2[:len(mosquittoArgon2)-66]:                                                                        "the hash is not 16 to 64",
		mosquittoArgon2 + "=":                                                                                            "the hash is not",
		strings.Repeat("$", 600):                                                                                         "not the hash",
	} {
		h, err := ParseHash(text)
		if err == nil || h != nil || !strings.Contains(err.Error(), cause) {
			t.Errorf("%s: %v, want an error with %q", text, err, cause)
		}
	}
}

// The most expensive hashes that are taken cost about half a second.
func TestHashCostLimits(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		strings.Replace(mosquittoArgon2, "m=47104,t=1", "m=131072,t=4", 1),
		strings.Replace(mosquittoArgon2, "p=1", "p=16", 1),
		strings.Replace(mosquittoPBKDF2, "101", "1000000", 1),
	} {
		if _, err := ParseHash(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzParseHash(f *testing.F) {
	for _, text := range []string{mosquittoSHA512, mosquittoPBKDF2, mosquittoArgon2, referenceArgon2, "$6$rounds=5000$a$b", "$2y$10$x"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h, err := ParseHash(text)
		if err != nil {
			if password := !strings.Contains(text, "$") && len(text) > 8; h != nil || password && strings.Contains(err.Error(), text) {
				t.Errorf("%q: %v, %v", text, h, err)
			}
			return
		}
		if h.String() != text || len(h.salt) == 0 || len(h.sum) < argon2SumBytesMin {
			t.Errorf("%q: %+v", text, h)
		}
		cheap := h.kind == saltedSHA512 || h.time <= 10 && h.memoryKiB <= 64
		if cheap && h.Matches([]byte("it would take luck")) {
			t.Errorf("%q matches", text)
		}
	})
}
