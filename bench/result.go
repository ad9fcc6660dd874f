package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// A Result is what one run gave. A run that failed has a Failure and no figure
// that could be taken for speed.
type Result struct {
	Scenario string `json:"scenario"`
	URL      string `json:"url"`
	Protocol string `json:"protocol"`
	// Durability is what the operator says that an acknowledgement of this
	// broker promises; "unknown" if nothing was said.
	Durability string   `json:"durability"`
	Setup      Figures  `json:"setup"`
	Figures    Figures  `json:"figures"`
	Warnings   []string `json:"warnings,omitempty"`
	Failure    string   `json:"failure,omitempty"`
}

// A Figure is a named number; its unit is the end of its name.
type Figure struct {
	Name  string
	Value float64
}

// Figures are in the order in which they are shown.
type Figures []Figure

// Get returns the figure of that name.
func (f Figures) Get(name string) (float64, bool) {
	i := slices.IndexFunc(f, func(f Figure) bool { return f.Name == name })
	if i < 0 {
		return 0, false
	}
	return f[i].Value, true
}

// MarshalJSON writes an object with one number per figure, in their order.
func (f Figures) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, figure := range f {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendQuote(b, figure.Name)
		b = append(b, ':')
		b = append(b, format(figure.Value)...)
	}
	return append(b, '}'), nil
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (f *Figures) UnmarshalJSON(b []byte) error {
	in := json.NewDecoder(bytes.NewReader(b))
	if _, err := in.Token(); err != nil {
		return err
	}
	for in.More() {
		name, err := in.Token()
		if err != nil {
			return err
		}
		var v float64
		if err := in.Decode(&v); err != nil {
			return err
		}
		*f = append(*f, Figure{fmt.Sprint(name), v})
	}
	return nil
}

// format gives four digits, and all of those of whole numbers.
func format(v float64) string {
	if v >= 1000 || v == float64(int64(v)) {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

func (r *Result) add(name string, v float64)   { r.Figures = append(r.Figures, Figure{name, v}) }
func (r *Result) setup(name string, v float64) { r.Setup = append(r.Setup, Figure{name, v}) }
func (r *Result) warn(text string, args ...any) {
	r.Warnings = append(r.Warnings, fmt.Sprintf(text, args...))
}

// fail marks the run as failed, in one line. What was measured until then goes.
func (r *Result) fail(err error) {
	r.Failure, r.Figures = strings.ReplaceAll(err.Error(), "\n", "; "), nil
}

// WriteJSON writes the result as one line.
func (r *Result) WriteJSON(w io.Writer) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// WriteTable writes the result for a person.
func (r *Result) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	var setup []string
	for _, f := range r.Setup {
		setup = append(setup, f.Name+" "+format(f.Value))
	}
	fmt.Fprintf(w, "%s against %s, MQTT %s, durability: %s\n", r.Scenario, r.URL, r.Protocol, r.Durability)
	fmt.Fprintf(w, "%s\n", strings.Join(setup, ", "))
	for _, f := range r.Figures {
		fmt.Fprintf(t, "%s\t  %s\t\n", f.Name, format(f.Value))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, text := range r.Warnings {
		fmt.Fprintf(w, "warning: %s\n", text)
	}
	if r.Failure != "" {
		fmt.Fprintf(w, "FAILED: %s\n", r.Failure)
	}
	return nil
}
