package mosquitto

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// set gives a key of ours the value of a line.
func (r *confReader) set(l confLine, path, text string) {
	r.conf.Settings = append(r.conf.Settings, Value{l.placed(), path, text})
	r.add(l, Taken, "%s: %s", path, text)
}

// boolean reads what Mosquitto takes for yes or no.
func (r *confReader) boolean(l confLine) (value, ok bool) {
	first, _, _ := strings.Cut(l.value, " ")
	switch first {
	case "true", "1":
		return true, true
	case "false", "0":
		return false, true
	}
	if l.option != "" {
		r.add(l, Refused, "it must be true or false, so Mosquitto would not start")
	}
	return false, false
}

// integer reads a number of at least 0.
func (r *confReader) integer(l confLine) (n int64, ok bool) {
	first, _, _ := strings.Cut(l.value, " ")
	n, err := strconv.ParseInt(first, 10, 64)
	if err != nil || n < 0 {
		r.add(l, Refused, "it must be a number from 0 on")
		return 0, false
	}
	return n, true
}

func boolean(path string) func(*confReader, confLine) {
	return func(r *confReader, l confLine) {
		if v, ok := r.boolean(l); ok {
			r.set(l, path, strconv.FormatBool(v))
		}
	}
}

// number takes a number, of which 0 is another here, and which may have a greatest.
func number(path string, zero, most int64) func(*confReader, confLine) {
	return func(r *confReader, l confLine) {
		first, _, _ := strings.Cut(l.value, " ")
		if first == "-1" { // no limit
			r.set(l, path, strconv.FormatInt(most, 10))
			return
		}
		n, ok := r.integer(l)
		if !ok {
			return
		}
		if n == 0 {
			n = zero
		}
		r.set(l, path, strconv.FormatInt(min(n, most), 10))
	}
}

// queue takes a limit of queues, with what Mosquitto does at it.
func queue(path string, most int64) func(*confReader, confLine) {
	return func(r *confReader, l confLine) {
		number(path, most, most)(r, l)
		policy := "mqtt.queue-policy"
		if !slices.ContainsFunc(r.conf.Settings, func(v Value) bool { return v.Path == policy }) {
			r.conf.Settings = append(r.conf.Settings, Value{l.placed(), policy, "drop-newest"})
		}
	}
}

// topicBytesMax is the longest Topic Name with its length, and a fixed header.
const topicBytesMax = 65_535 + 2 + 5

func (r *confReader) messageSize(l confLine) {
	if _, both := r.lines["max_packet_size"]; both {
		r.add(l, LeftOut, "max_packet_size is what counts here")
		return
	}
	n, ok := r.integer(l)
	if !ok {
		return
	}
	if n == 0 {
		n = packetBytesMax
	}
	n = min(n+topicBytesMax, packetBytesMax)
	const path = "mqtt.max-packet-size"
	r.conf.Settings = append(r.conf.Settings, Value{l.placed(), path, strconv.FormatInt(n, 10)})
	r.add(l, Changed, "%s: %d, with room for the longest topic: there the payload alone is counted", path, n)
}

func (r *confReader) sysInterval(l confLine) {
	if n, ok := r.integer(l); ok {
		r.set(l, "mqtt.sys-interval", fmt.Sprintf("%ds", min(n, 3600)))
	}
}

// secondsOf are those of the letters behind persistent_client_expiration.
var secondsOf = map[byte]int64{'h': 3600, 'd': 86400, 'w': 7 * 86400, 'm': 30 * 86400, 'y': 365 * 86400}

func (r *confReader) expiration(l confLine) {
	n, err := strconv.ParseInt(strings.TrimRight(l.value, "hdwmy"), 10, 64)
	unit := secondsOf[l.value[len(l.value)-1]]
	if err != nil || n <= 0 || unit == 0 {
		r.add(l, Refused, "it must be a number and one of h, d, w, m and y, so Mosquitto would not start")
		return
	}
	r.set(l, "mqtt.max-session-expiry", strconv.FormatInt(min(n, math.MaxUint32/unit)*unit, 10))
}

// logType takes the most that is logged.
func (r *confReader) logType(l confLine) {
	level := "error"
	for _, word := range strings.Fields(l.value) {
		switch word {
		case "debug":
			level = "debug"
		case "all", "information", "notice", "subscribe", "unsubscribe":
			if level != "debug" {
				level = "info"
			}
		case "warning":
			if level == "error" {
				level = "warn"
			}
		}
	}
	r.conf.Settings = append(r.conf.Settings, Value{l.placed(), "log.level", level})
	r.add(l, Changed, "log.level: %s", level)
}

// nearestOption says which name may have been meant.
func nearestOption(name string) string {
	best, least := "", 3
	for i := range options {
		if d := distance(name, options[i].name); d < least {
			best, least = options[i].name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s?)", best)
}

// distance is how many letters have to be changed, added or removed.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := before
			if a[i] != b[j] {
				d++
			}
			before = row[j+1]
			row[j+1] = min(d, row[j]+1, before+1)
		}
	}
	return row[len(b)]
}
