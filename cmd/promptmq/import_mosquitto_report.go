package main

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/x0a1b/promptmq/cmd/promptmq/mosquitto"
	"github.com/x0a1b/promptmq/store"
	"github.com/x0a1b/promptmq/terminal"
)

// sessionOf begins what a Finding of the state is about, if that is a whole session.
const sessionOf = "session of client "

// expiredOn begins why one is left out.
const expiredOn = "it expired on "

// tell writes the report, and what was written besides.
func (c *importMosquittoCommand) tell(m *mosquittoMove) error {
	r := m.report
	counts := make(map[string]int)
	for _, o := range []mosquitto.Outcome{mosquitto.Taken, mosquitto.Changed, mosquitto.LeftOut, mosquitto.Refused} {
		counts[o.String()] = r.Count(o)
	}
	if c.JSON {
		out := struct {
			DryRun   bool                `json:"dry_run"`
			Written  []string            `json:"written"`
			Counts   map[string]int      `json:"counts"`
			Findings []mosquitto.Finding `json:"findings"`
		}{c.DryRun, []string{}, counts, r.Findings}
		if m.imported != nil {
			out.Written = []string{store.File(m.dataDir)}
			if m.file != "" {
				out.Written = append(out.Written, m.file)
			}
		}
		return writeJSON(os.Stdout, out)
	}
	t := terminal.Table{Columns: []terminal.Column{{Title: "WHERE"}, {Title: "IS"}, {Title: "WHAT"}, {Title: "HERE"}}}
	findings := r.Findings
	if !c.Verbose {
		findings = summedUp(findings)
	}
	for _, f := range inOrderToRead(findings) {
		t.Add(f.Place(), f.Outcome.String(), f.What, f.Why)
	}
	if err := t.Write(os.Stdout, 0); err != nil {
		return err
	}
	fmt.Printf("\n%d taken, %d changed, %d left out, %d refused\n", counts["taken"], counts["changed"], counts["left out"], counts["refused"])
	if m.imported == nil {
		return nil
	}
	if m.aside != "" {
		fmt.Printf("the database that was there is now %s\n", m.aside)
	}
	if m.file == "" {
		_, err := fmt.Printf("%s: imported %s\n", m.dataDir, storedText(m.imported))
		return err
	}
	fmt.Printf("%s: imported %s\n%s: written; next: promptmq server --config %s\n", m.dataDir, storedText(m.imported), m.file, m.file)
	if m.imported.Users > 0 {
		fmt.Printf("None of the users may administer the broker over the API or the page yet: promptmq user role NAME admin --config %s, and admin.bind in that file\n", m.file)
	}
	return nil
}

// summedUp has one Finding for all the sessions of which the same became: there may be thousands,
// among which a reader would miss what is not as before.
func summedUp(findings []mosquitto.Finding) (list []mosquitto.Finding) {
	type fate struct {
		source, why string
		outcome     mosquitto.Outcome
	}
	places, counts := make(map[fate]int), make(map[fate]int)
	for _, f := range findings {
		of := fate{f.Source, f.Why, f.Outcome}
		switch {
		case f.Outcome == mosquitto.Taken:
			of.why = "each with its subscriptions and its queue"
		case strings.HasPrefix(f.Why, expiredOn):
			of.why = "they have expired"
		}
		if !strings.HasPrefix(f.What, sessionOf) || f.Outcome == mosquitto.Changed || f.Outcome == mosquitto.Refused {
			list = append(list, f)
			continue
		}
		if counts[of]++; counts[of] == 1 {
			places[of] = len(list)
			list = append(list, f)
			continue
		}
		sum := &list[places[of]]
		sum.What, sum.Why = fmt.Sprintf("%d sessions", counts[of]), of.why+"; --verbose lists them"
	}
	return list
}

// inOrderToRead has what needs a look last, where a terminal still shows it.
func inOrderToRead(findings []mosquitto.Finding) []mosquitto.Finding {
	order := []mosquitto.Outcome{mosquitto.Taken, mosquitto.LeftOut, mosquitto.Changed, mosquitto.Refused}
	list := slices.Clone(findings)
	slices.SortStableFunc(list, func(a, b mosquitto.Finding) int {
		return cmp.Compare(slices.Index(order, a.Outcome), slices.Index(order, b.Outcome))
	})
	return list
}

// openAddress is the first address of listeners where somebody takes connections; "": nobody does.
func openAddress(listeners [][]mosquitto.Value) string {
	for _, listener := range listeners {
		said := make(map[string]string)
		for _, v := range listener {
			said[v.Path] = v.Text
		}
		network, address := "tcp", said["address"]
		if said["kind"] == "unix" {
			network = "unix"
		} else if host, port, err := net.SplitHostPort(address); err == nil {
			if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
				address = net.JoinHostPort("localhost", port)
			}
		}
		if conn, err := net.DialTimeout(network, address, time.Second); err == nil {
			_ = conn.Close() // nothing was said
			return said["address"]
		}
	}
	return ""
}
