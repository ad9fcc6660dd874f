package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// The last lines of the log have numbers without gaps, and are bounded in their number and size.
func TestLogTail(t *testing.T) {
	t.Parallel()
	var tail logTail
	texts := func(after uint64, limit int) (got []string, missed uint64) {
		lines, missed, _ := tail.LogLines(after, limit)
		for i, l := range lines {
			if l.Seq != lines[0].Seq+uint64(i) {
				t.Errorf("line %d has the number %d", i, l.Seq)
			}
			got = append(got, l.Text)
		}
		return got, missed
	}
	if got, missed := texts(0, 10); len(got) != 0 || missed != 0 {
		t.Errorf("%q, %d", got, missed)
	}
	_, _, more := tail.LogLines(0, 10)
	for i := range 3 {
		tail.add(fmt.Appendf(nil, "%d\n", i+1))
	}
	<-more
	for after, want := range [][]string{{"2", "3"}, {"2", "3"}, {"3"}, nil, nil} {
		if got, missed := texts(uint64(after), 2); !slices.Equal(got, want) || missed != 0 {
			t.Errorf("after %d: %q, %d", after, got, missed)
		}
	}
	for i := range tailLinesMax {
		tail.add(fmt.Appendf(nil, "%d\n", i+4))
	}
	if got, missed := texts(1, 3); !slices.Equal(got, []string{"4", "5", "6"}) || missed != 2 {
		t.Errorf("%q, %d", got, missed)
	}
	if got, _ := texts(0, 5000); len(got) != tailLinesMax || got[0] != "4" {
		t.Errorf("%d lines from %s", len(got), got[0])
	}
	for range tailLinesMax { // a letter of two bytes stands where they are cut
		tail.add([]byte("x" + strings.Repeat("ä", tailLineMax) + "\n"))
	}
	lines, _, _ := tail.LogLines(0, tailLinesMax)
	if len(lines) != tailBytesMax/tailLineMax || tail.bytes > tailBytesMax {
		t.Errorf("%d lines, %d bytes", len(lines), tail.bytes)
	}
	for _, l := range lines {
		if !l.Cut || l.Text != "x"+strings.Repeat("ä", tailLineMax/2-1) {
			t.Fatalf("%v, %d bytes", l.Cut, len(l.Text))
		}
	}
}
