package access

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf16"
)

var passwordFile = "# users\n\nsix:" + mosquittoSHA512 + "\nseven:" + mosquittoPBKDF2 + "\n  mosq21 : " + mosquittoArgon2 + " \t\nours ü:" + referenceArgon2 + "\n"

func usersOf(entries []PasswordEntry) (users []string) {
	for _, e := range entries {
		users = append(users, fmt.Sprint(e.Line, " ", e.User))
	}
	return users
}

func TestParsePasswordFile(t *testing.T) {
	t.Parallel()
	want := []string{"3 six", "4 seven", "5 mosq21", "6 ours ü"}
	for name, text := range map[string]string{
		"as written": passwordFile,
		"CRLF":       strings.ReplaceAll(passwordFile, "\n", "\r\n"),
		"BOM":        "\ufeff" + passwordFile,
	} {
		entries, err := ParsePasswordFile("F", []byte(text))
		if got := usersOf(entries); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, %v, want %q", name, got, err, want)
		}
	}
	if entries, err := ParsePasswordFile("F", []byte("# nobody yet\n")); err != nil || len(entries) != 0 {
		t.Errorf("a comment alone: %v, %v", entries, err)
	}
}

func utf16Text(order binary.AppendByteOrder, text string) []byte {
	var b []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		b = order.AppendUint16(b, unit)
	}
	return b
}

func TestParsePasswordFileRefuses(t *testing.T) {
	t.Parallel()
	for text, cause := range map[string]string{
		"":                                             "F: it is empty",
		"ann:secret-word\n":                            `F:1: the user "ann": what stands behind the colon is no hash`,
		"\n\nann:$2y$10$secret-word\n":                 `F:3: the user "ann": $2y$ is a hash of another kind`,
		"secret-word\n":                                "F:1: there is no colon",
		":" + mosquittoSHA512 + "\n":                   "F:1: there is no user name",
		"ann:\n":                                       `F:1: the user "ann" has no hash`,
		"ann:" + mosquittoSHA512:                       "F:1: the last line does not end",
		"#\nann:" + mosquittoSHA512:                    "F:2: the last line does not end",
		"#\n" + "a\x00:b\n":                            "F:2: the control character U+0000",
		"ann:" + mosquittoSHA512 + "\r":                "F:1: the last line does not end",
		"a:x\rb:" + mosquittoSHA512 + "\n":             "F:1: the control character",
		"a\x7f:" + mosquittoSHA512 + "\n":              "F:1: the control character",
		"a\xff:" + mosquittoSHA512 + "\n":              "F:1: it is not UTF-8",
		passwordFile + "six:" + mosquittoPBKDF2 + "\n": `F:7: the user "six" has line 3 already`,
		strings.Repeat("a", 65536) + ":" + mosquittoSHA512 + "\n":                "more than 65535 bytes",
		string(utf16Text(binary.LittleEndian, "\ufeff"+passwordFile)):            "UTF-16",
		string(utf16Text(binary.BigEndian, "\ufeff"+passwordFile)):               "UTF-16",
		string(utf16Text(binary.LittleEndian, passwordFile)):                     "F:1: ",
		string(utf16Text(binary.BigEndian, passwordFile)):                        "F:1: ",
		"#\n" + strings.Replace(passwordFile, "m=47104", "m=9999999999", 1):      `F:6: the user "mosq21": argon2id: m`,
		"ann:" + mosquittoSHA512 + "\n" + strings.Repeat("#", PasswordFileBytes): "more than the 67108864",
	} {
		entries, err := ParsePasswordFile("F", []byte(text))
		if err == nil || len(entries) > 0 || !strings.Contains(err.Error(), cause) || strings.Contains(err.Error(), "secret-word") {
			t.Errorf("%.60q: %q, %v, want an error with %q", text, usersOf(entries), err, cause)
		}
	}
}

// A file that is cut off is refused, unless it was cut between two lines: those before are
// then the users.
func TestParsePasswordFileCut(t *testing.T) {
	t.Parallel()
	whole, err := ParsePasswordFile("F", []byte(passwordFile))
	if err != nil {
		t.Fatal(err)
	}
	for n := range passwordFile {
		entries, err := ParsePasswordFile("F", []byte(passwordFile[:n]))
		if betweenLines := n > 0 && passwordFile[n-1] == '\n'; (err == nil) != betweenLines {
			t.Errorf("cut at byte %d: %q, %v", n, usersOf(entries), err)
		} else if betweenLines && !reflect.DeepEqual(usersOf(entries), usersOf(whole[:len(entries)])) {
			t.Errorf("cut at byte %d: %q", n, usersOf(entries))
		}
	}
}

func TestParsePasswordFileEnd(t *testing.T) {
	t.Parallel()
	text := "# end required\n" + passwordFile + "# end\n"
	for n := range text {
		if entries, err := ParsePasswordFile("F", []byte(text[:n])); err == nil {
			t.Errorf("cut at byte %d: %q", n, usersOf(entries))
		}
	}
	if entries, err := ParsePasswordFile("F", []byte(text)); err != nil || len(entries) != 4 {
		t.Errorf("whole: %q, %v", usersOf(entries), err)
	}
}

func FuzzParsePasswordFile(f *testing.F) {
	f.Add([]byte(passwordFile))
	f.Add([]byte("\ufeff" + strings.ReplaceAll(passwordFile, "\n", "\r\n")))
	f.Add(utf16Text(binary.LittleEndian, passwordFile))
	f.Fuzz(func(t *testing.T, text []byte) {
		entries, err := ParsePasswordFile("F", text)
		if err != nil {
			if len(entries) > 0 {
				t.Errorf("users beside an error: %q, %v", usersOf(entries), err)
			}
			return
		}
		seen := make(map[string]bool)
		lines := bytes.Split(text, []byte("\n"))
		for _, e := range entries {
			if e.User == "" || seen[e.User] || e.Hash == nil || !bytes.Contains(lines[e.Line-1], []byte(e.User)) {
				t.Errorf("%+v", e)
			}
			seen[e.User] = true
		}
	})
}
