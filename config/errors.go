package config

import (
	"fmt"
	"strings"
)

// Origin says where a setting stood: in a file, a variable or a flag. The zero
// Origin is that of a default.
type Origin struct {
	Name string // of the file, the variable or the flag
	Line int    // in the file; 0: the file as a whole, or not a file
}

func (o Origin) String() string {
	switch {
	case o.Name == "":
		return "default"
	case o.Line == 0:
		return o.Name
	}
	return fmt.Sprintf("%s:%d", o.Name, o.Line)
}

// Error is one fault of a configuration.
type Error struct {
	Origin Origin
	Key    string // empty where the fault belongs to no key
	Text   string
	edge   bool // it is about a blank already
}

func (e *Error) Error() string {
	if e.Key == "" {
		return fmt.Sprintf("%v: %s", e.Origin, e.Text)
	}
	return fmt.Sprintf("%v: %s: %s", e.Origin, e.Key, e.Text)
}

// Errors are all faults of a configuration, in the order of the sources.
type Errors []*Error

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// nearest returns the candidate that is a few keystrokes from word, or "".
func nearest(word string, candidates []string) string {
	best, bestDistance := "", max(2, len(word)/4)+1
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), strings.ToLower(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance is the number of bytes to insert, delete, replace or swap with
// their neighbour to turn a into b.
func distance(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	before, last, row := rows[0], rows[1], rows[2]
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, before
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
