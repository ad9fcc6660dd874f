package terminal

import (
	"bytes"
	"io"
	"strings"
)

// gap is what stands between two columns.
const gap = "  "

// A Column is one of a Table.
type Column struct {
	Title string
	// Right: its cells are numbers, which end at the same place.
	Right bool
	// Least is the width down to which it may be cut to make room; 0: it is not cut.
	Least int
}

// A Table has rows of as many cells as it has columns. Titles and cells are escaped when
// they are written; an empty one is shown as a dash.
type Table struct {
	Columns []Column
	Rows    [][]string
}

// Add appends a row.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

// Write writes the table, with lines of at most width columns; 0: as wide as they are.
func (t *Table) Write(w io.Writer, width int) error {
	_, err := io.WriteString(w, strings.Join(t.Lines(width), "\n")+"\n")
	return err
}

// Lines are what Write writes, the titles first.
func (t *Table) Lines(width int) []string {
	rows := make([][]string, 1, 1+len(t.Rows))
	for _, c := range t.Columns {
		rows[0] = append(rows[0], Escape(c.Title))
	}
	for _, r := range t.Rows {
		shown := make([]string, len(r))
		for i, cell := range r {
			if shown[i] = Escape(cell); cell == "" {
				shown[i] = "-"
			}
		}
		rows = append(rows, shown)
	}
	widths := t.fit(rows, width)
	lines := make([]string, 0, len(rows))
	var line bytes.Buffer
	for _, r := range rows {
		line.Reset()
		for i, cell := range r {
			if i > 0 {
				line.WriteString(gap)
			}
			cell = Cut(cell, widths[i])
			space := strings.Repeat(" ", widths[i]-Width(cell))
			if t.Columns[i].Right {
				line.WriteString(space + cell)
			} else {
				line.WriteString(cell + space)
			}
		}
		text := strings.TrimRight(line.String(), " ")
		if width > 0 {
			text = Cut(text, width)
		}
		lines = append(lines, text)
	}
	return lines
}

// fit returns how wide each column is: as its widest cell, and if that is too much for a
// line, what may be cut is cut, the widest first.
func (t *Table) fit(rows [][]string, width int) []int {
	widths := make([]int, len(t.Columns))
	total := len(gap) * (len(widths) - 1)
	for i := range widths {
		for _, r := range rows {
			widths[i] = max(widths[i], Width(r[i]))
		}
		total += widths[i]
	}
	for ; width > 0 && total > width; total-- {
		widest := -1
		for i, c := range t.Columns {
			if c.Least > 0 && widths[i] > c.Least && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break // the lines themselves are cut
		}
		widths[widest]--
	}
	return widths
}
