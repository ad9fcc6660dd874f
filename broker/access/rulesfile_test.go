package access

import (
	"strings"
	"testing"
	"unicode/utf16"
)

const rulesFile = `# The rules of the house
allow group admins all topic #
allow user bob read qos 1 topic "living room/#"

  deny everyone publish topic secret/#
allow everyone all topic own/%u/%c/#
end
`

func TestRulesFile(t *testing.T) {
	t.Parallel()
	want := "allow group admins all topic #\nallow user bob read qos 1 topic \"living room/#\"\ndeny everyone publish topic secret/#\nallow everyone all topic own/%u/%c/#\n"
	for _, text := range []string{rulesFile, strings.ReplaceAll(rulesFile, "\n", "\r\n"), "\uFEFF" + rulesFile, rulesFile + "\n# whole\n", strings.TrimSpace(rulesFile)} {
		rules, err := ParseRules("acl.txt", []byte(text))
		if err != nil || listed(rules) != want || rules[2].Where != "acl.txt:5" {
			t.Errorf("%q: %v, %v", text, rules, err)
		}
	}
}

// A file that was cut off anywhere is refused, in whatever way its lines end.
func TestRulesFileCut(t *testing.T) {
	t.Parallel()
	for _, text := range []string{rulesFile, strings.ReplaceAll(rulesFile, "\n", "\r\n"), "\uFEFF" + rulesFile} {
		whole := len(strings.TrimRight(text, "\r\n"))
		for n := range len(text) {
			_, err := ParseRules("acl.txt", []byte(text[:n]))
			if (err == nil) != (n >= whole) || err != nil && !strings.HasPrefix(err.Error(), "acl.txt:") {
				t.Errorf("cut at %d of %d: %v", n, len(text), err)
			}
		}
	}
}

func utf16Bytes(text string, high int) []byte {
	var b []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		b = append(b, byte(unit>>(8*high)), byte(unit>>(8*(1-high))))
	}
	return b
}

func TestTextFileErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":            "acl.txt: it is empty",
		"end\n":       "acl.txt:1: there is no rule",
		"# a\n\x00\n": "acl.txt:2: the control character U+0000",
		string(utf16Bytes("\uFEFF"+rulesFile, 0)):                               "acl.txt:1: it is UTF-16",
		string(utf16Bytes("\uFEFF"+rulesFile, 1)):                               "acl.txt:1: it is UTF-16",
		string(utf16Bytes(rulesFile, 0)):                                        "UTF-16",
		strings.ReplaceAll(rulesFile, "\n", "\r"):                               "acl.txt:1: the control character U+000D",
		"# \xff\n" + rulesFile:                                                  "acl.txt:1: it is not UTF-8",
		strings.Replace(rulesFile, "bob", "b\x1bob", 1):                         "acl.txt:3: the control character U+001B",
		strings.Replace(rulesFile, "read", "reads", 1):                          "acl.txt:3: \"reads\" is no word",
		rulesFile + "deny everyone all topic #\n":                               "acl.txt:8: there is something behind",
		rulesFile + rulesFile:                                                   "acl.txt:9: there is something behind",
		strings.Repeat("x", RulesFileBytes+1):                                   "more than the",
		strings.Repeat("deny nobody all topic #\n", RulesFileRules+1) + "end\n": "acl.txt:100001: more than 100000 rules",
	} {
		if _, err := ParseRules("acl.txt", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.100q: %v, want %s", text, err, want)
		}
	}
}

// FuzzRulesFile: what is read is what its lines say, and no part of it is read as something
// else.
func FuzzRulesFile(f *testing.F) {
	f.Add([]byte(rulesFile), uint16(100))
	f.Add([]byte(strings.ReplaceAll(rulesFile, "\n", "\r\n")), uint16(7))
	f.Add(utf16Bytes(rulesFile, 1), uint16(0))
	f.Fuzz(func(t *testing.T, data []byte, cut uint16) {
		rules, err := ParseRules("f", data)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f:") {
				t.Fatalf("the error does not say where: %v", err)
			}
			return
		}
		again, err := ParseRules("f", []byte(listed(rules)+"end\n"))
		if err != nil || listed(again) != listed(rules) {
			t.Fatalf("%q: written and read again: %v, %v", data, again, err)
		}
		if int(cut) < len(data) {
			if part, err := ParseRules("f", data[:cut]); err == nil && listed(part) != listed(rules) {
				t.Fatalf("%q is read as another policy when it is cut at %d", data, cut)
			}
		}
	})
}
