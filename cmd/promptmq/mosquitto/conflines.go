package mosquitto

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// A confLine is a line of a mosquitto.conf that says something.
type confLine struct {
	file   string
	number int
	option string
	value  string // all that is behind the option, without the blanks around it
}

// secretOptions have values that are not repeated.
var secretOptions = []string{"password", "remote_password", "local_password", "bridge_psk", "tls_engine_kpass_sha1"}

// text is the line for people.
func (l confLine) text() string {
	for _, secret := range secretOptions {
		if l.option == secret {
			return l.option + " …"
		}
	}
	return strings.TrimSpace(l.option + " " + l.value)
}

func (l confLine) placed() Place { return Place{l.file, l.number} }

func (l confLine) place() string { return fmt.Sprintf("%s:%d", l.file, l.number) }

const confBytesMax = 16 << 20

// readConfLines reads a file as Mosquitto does: # begins a comment in the first column only, and
// everything behind the first word is its value.
func readConfLines(file string) ([]confLine, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if len(text) > confBytesMax || bytes.IndexByte(text, 0) >= 0 {
		return nil, fmt.Errorf("%s: it is no mosquitto.conf: it has U+0000, or more than %d bytes", file, confBytesMax)
	}
	var lines []confLine
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimRight(line, " \t\r")
		if strings.HasPrefix(line, "#") {
			continue
		}
		option, value, _ := strings.Cut(strings.TrimLeft(line, " "), " ")
		if option != "" {
			lines = append(lines, confLine{file, i + 1, option, strings.Trim(value, " \t")})
		}
	}
	return lines, nil
}
