package access

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// textLines returns the lines of a text file in UTF-8, each without its end, which is LF
// or CR LF. A byte order mark is passed over. What has U+0000 or another control character than
// the tab in it, or no UTF-8, is refused.
func textLines(name string, data []byte, most int) ([]string, error) {
	if len(data) > most {
		return nil, fmt.Errorf("%s: it has %d bytes, more than the %d that are read", name, len(data), most)
	}
	if bytes.HasPrefix(data, []byte{0xFF, 0xFE}) || bytes.HasPrefix(data, []byte{0xFE, 0xFF}) {
		return nil, fmt.Errorf("%s:1: it is UTF-16; save it as UTF-8", name)
	}
	text := string(bytes.TrimPrefix(data, []byte("\uFEFF")))
	lines := strings.Split(text, "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	for i, line := range lines {
		line = strings.TrimSuffix(line, "\r")
		lines[i] = line
		if !utf8.ValidString(line) {
			return nil, fmt.Errorf("%s:%d: it is not UTF-8", name, i+1)
		}
		if at := strings.IndexFunc(line, isControl); at >= 0 {
			r, _ := utf8.DecodeRuneInString(line[at:])
			return nil, fmt.Errorf("%s:%d: the control character %U is in it%s", name, i+1, r, controlHint(r))
		}
	}
	return lines, nil
}

// mosquittoLines returns the lines of a file that Mosquitto reads too. Such a file does not
// say where it ends, so one that is empty or whose last line does not end is refused as cut
// off; and one whose first line is "# end required", which is a comment to Mosquitto, if
// its last is not "# end". empty says what to write for a file that is to have nothing.
func mosquittoLines(name string, data []byte, most int, empty string) ([]string, error) {
	lines, err := textLines(name, data, most)
	switch {
	case err != nil:
		return nil, err
	case len(lines) == 0:
		return nil, fmt.Errorf("%s: it is empty, and may have been cut off; %s", name, empty)
	case data[len(data)-1] != '\n':
		return nil, fmt.Errorf("%s:%d: the last line does not end, so the file may have been cut off; end it with a line break if it is whole", name, len(lines))
	case trimmed(lines[0]) == "# end required" && trimmed(lines[len(lines)-1]) != "# end":
		return nil, fmt.Errorf(`%s:%d: the last line is not "# end", which the first requires: the file may have been cut off`, name, len(lines))
	}
	return lines, nil
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7F }

func controlHint(r rune) string {
	switch r {
	case 0:
		return "; it may be UTF-16: save it as UTF-8"
	case '\r':
		return ": lines end with LF or CR LF"
	}
	return ""
}
