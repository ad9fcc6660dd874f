package access

import (
	"encoding/base64"
	"strings"
	"testing"
)

// The example of RFC 7677, section 3, as far as keys go: PostgreSQL and xdg-go/scram make the
// same ones.
func TestSCRAMKeys(t *testing.T) {
	t.Parallel()
	salt, _ := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	k, err := NewSCRAMKeys([]byte("pencil"), salt, 4096)
	if err != nil {
		t.Fatal(err)
	}
	const want = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
	if k.String() != want {
		t.Fatalf("%s", k)
	}
	back, err := ParseSCRAMKeys(want)
	if err != nil || back.String() != want {
		t.Fatalf("%v, %v", back, err)
	}
	for _, other := range []string{"pencil ", "Pencil", "pencil\u00a0"} {
		o, err := NewSCRAMKeys([]byte(other), salt, 4096)
		if err != nil || o.String() == want {
			t.Errorf("%q: %v", other, err)
		}
	}
	same, err := NewSCRAMKeys([]byte("pen\u00adcil"), salt, 4096) // SASLprep: a soft hyphen is nothing
	if err != nil || same.String() != want {
		t.Errorf("soft hyphen: %v, %v", same, err)
	}
	for _, bad := range []string{"", "a\x00b", "\xff", strings.Repeat("a", 65536)} {
		if _, err := NewSCRAMKeys([]byte(bad), salt, 4096); err == nil {
			t.Errorf("%.10q has keys", bad)
		}
	}
}

func TestParseSCRAMKeysRefuses(t *testing.T) {
	t.Parallel()
	const good = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
	for i := range good {
		if _, err := ParseSCRAMKeys(good[:i]); err == nil {
			t.Errorf("%q is accepted", good[:i])
		} else if i > 40 && strings.Contains(err.Error(), good[30:40]) {
			t.Errorf("%v repeats the text", err)
		}
	}
	for _, change := range [][2]string{{"4096", "1"}, {"4096", "4095"}, {"4096", "99999999999"}, {"4096", "-4096"}, {"==$", "$"}, {"SHA-256", "SHA-1"}} {
		if text := strings.Replace(good, change[0], change[1], 1); text != good {
			if _, err := ParseSCRAMKeys(text); err == nil {
				t.Errorf("%q is accepted", text)
			}
		}
	}
}
