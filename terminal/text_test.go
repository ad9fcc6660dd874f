package terminal

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestEscape(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"sensors/kitchen": "sensors/kitchen", "": "", "größe 室温 🌡": "größe 室温 🌡",
		"a\x1b[2Jb":          `a\x1b[2Jb`,          // clears the screen
		"a\r\n\tb\x00\x7f":   `a\r\n\tb\x00\x7f`,   // another line
		"\u009b31m":          `\u009b31m`,          // CSI in one character
		"\u202egnp.exe":      `\u202egnp.exe`,      // right to left
		"a\u200bb\ufeff":     `a\u200bb\ufeff`,     // not seen
		"\xff\xfe":           `\xff\xfe`,           // no UTF-8
		"\ufffd":             `\ufffd`,             // looks as if it were none
		`a\x1bb`:             `a\\x1bb`,            // looks as if it had been escaped
		"e\u0301\u0301":      `e\u0301\u0301`,      // piles up over the lines above
		"a\u2028b\u00a0c":    `a\u2028b\u00a0c`,    // line separator, space that does not break
		"\U000e0041\ue000":   `\U000e0041\ue000`,   // tag, private use
		"\x1b]0;title\x07x":  `\x1b]0;title\ax`,    // another title of the window
		"\x1b]52;c;aGk=\a":   `\x1b]52;c;aGk=\a`,   // the clipboard
		"\u061c\u2066\u2069": `\u061c\u2066\u2069`, // isolates
	} {
		if got := Escape(in); got != want {
			t.Errorf("%q: %s, expected %s", in, got, want)
		}
	}
}

// FuzzEscape: whatever comes, what is shown are printable characters of known width.
func FuzzEscape(f *testing.F) {
	f.Add("a\x1b[2Jb", 3)
	f.Add("室温\u202e", 2)
	f.Fuzz(func(t *testing.T, s string, columns int) {
		shown := Escape(s)
		if !utf8.ValidString(shown) {
			t.Errorf("%q is no UTF-8", shown)
		}
		for _, r := range shown {
			if !unicode.IsPrint(r) || unicode.Is(unicode.M, r) {
				t.Errorf("%q has %q", shown, r)
			}
		}
		if cut := Cut(shown, columns); Width(cut) > max(columns, 0) && cut != shown || !strings.HasPrefix(shown, strings.TrimSuffix(cut, "…")) {
			t.Errorf("%q cut to %d: %q", shown, columns, cut)
		}
	})
}

func TestCut(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text    string
		columns int
		want    string
	}{
		{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"abcd", 1, "…"}, {"abcd", 0, ""}, {"", 0, ""}, {"室温室", 6, "室温室"}, {"室温室", 5, "室温…"}, {"室温室", 4, "室…"}, {"abcd", -1, ""},
	} {
		if got := Cut(test.text, test.columns); got != test.want {
			t.Errorf("%q to %d: %q, expected %q", test.text, test.columns, got, test.want)
		}
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	table := &Table{Columns: []Column{{Title: "CLIENT", Least: 8}, {Title: "QUEUED", Right: true}, {Title: "ADDRESS", Least: 9}}}
	table.Add("a\x1b[2J", "17", "")
	table.Add(strings.Repeat("long-", 6), "100000", "[2001:db8::1]:1883")
	table.Add("室温", "0", "local")
	for width, want := range map[int]string{
		0: `
CLIENT                          QUEUED  ADDRESS
a\x1b[2J                            17  -
long-long-long-long-long-long-  100000  [2001:db8::1]:1883
室温                                 0  local`,
		40: `
CLIENT           QUEUED  ADDRESS
a\x1b[2J             17  -
long-long-long…  100000  [2001:db8::1]:…
室温                  0  local`,
		30: `
CLIENT      QUEUED  ADDRESS
a\x1b[2J        17  -
long-long…  100000  [2001:db8…
室温             0  local`,
		12: `
CLIENT    Q…
a\x1b[2J   …
long-lo…  1…
室温       …`,
	} {
		lines := table.Lines(width)
		for _, line := range lines {
			if width > 0 && Width(line) > width {
				t.Errorf("%q is wider than %d", line, width)
			}
		}
		if got := "\n" + strings.Join(lines, "\n"); got != want {
			t.Errorf("at %d:%s\nexpected:%s", width, got, want)
		}
	}
}
