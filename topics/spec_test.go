package topics

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// specMatches are the examples of sections 4.7 and 4.8, and their neighbours.
var specMatches = []struct {
	filter, name string
	want         bool
}{
	// 4.7.1.2 Multi-level wildcard
	{"sport/tennis/player1/#", "sport/tennis/player1", true},
	{"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
	{"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
	{"sport/tennis/player1/#", "sport/tennis/player2", false},
	{"sport/tennis/player1/#", "sport/tennis", false},
	{"sport/tennis/player1/#", "sport/tennis/player11", false},
	{"sport/#", "sport", true},
	{"sport/#", "sport/", true},
	{"sport/#", "sports", false},
	{"#", "sport", true},
	{"#", "/", true},
	{"#", "a/b/c/d/e", true},
	{"/#", "/", true},
	{"/#", "/finance", true},
	{"/#", "finance", false},
	{"a//#", "a/", true},
	{"a//#", "a", false},

	// 4.7.1.3 Single-level wildcard
	{"sport/tennis/+", "sport/tennis/player1", true},
	{"sport/tennis/+", "sport/tennis/player2", true},
	{"sport/tennis/+", "sport/tennis/player1/ranking", false},
	{"sport/+", "sport", false},
	{"sport/+", "sport/", true},
	{"+", "sport", true},
	{"+", "a/b", false},
	{"+/tennis/#", "sport/tennis", true},
	{"+/tennis/#", "sport/tennis/player1/ranking", true},
	{"+/tennis/#", "tennis", false},
	{"sport/+/player1", "sport/tennis/player1", true},
	{"sport/+/player1", "sport/player1", false},
	{"sport/+/player1", "sport//player1", true},
	{"+/+", "/finance", true},
	{"/+", "/finance", true},
	{"+", "/finance", false},
	{"+/+/+", "//", true},
	{"+/+", "//", false},
	{"+/#", "a", true},
	{"+/+/#", "a", false},
	{"+/+/#", "a/b", true},

	// 4.7.2 Topics beginning with $
	{"#", "$SYS/monitor/Clients", false},
	{"#", "$", false},
	{"+", "$SYS", false},
	{"+/#", "$SYS", false},
	{"+/monitor/Clients", "$SYS/monitor/Clients", false},
	{"$SYS/#", "$SYS/monitor/Clients", true},
	{"$SYS/#", "$SYS", true},
	{"$SYS/monitor/+", "$SYS/monitor/Clients", true},
	{"$SYS/+/Clients", "$SYS/monitor/Clients", true},
	{"#", "a/$SYS", true},
	{"a/+", "a/$SYS", true},
	{"#", "/$SYS", true},
	{"+/+", "/$SYS", true},

	// 4.7.3 Topic semantic and usage
	{"ACCOUNTS", "ACCOUNTS", true},
	{"ACCOUNTS", "Accounts", false},
	{"Accounts payable", "Accounts payable", true},
	{"/finance", "finance", false},
	{"finance", "/finance", false},
	{"finance/", "finance", false},
	{"finance", "finance/", false},
	{"/", "/", true},
	{"/", "//", false},
	{"caf\u00e9", "cafe\u0301", false}, // no normalisation
	{"\u00c5", "\u212b", false},
	{"caf\u00e9/+", "caf\u00e9/\U0001F375", true},

	// 4.8.2, after ParseShare
	{"/finance", "/finance", true},
}

func TestSpecEachAlone(t *testing.T) {
	for _, c := range specMatches {
		f, n := NewFilters[int, string](), NewNames[string]()
		f.Set(c.filter, 1, "v")
		n.Set(c.name, "v")
		got := [...]bool{
			naiveMatch(c.filter, c.name),
			MatchString(c.filter, c.name),
			slices.Equal(f.AppendMatches(nil, []byte(c.name)), []Match[int, string]{{1, "v"}}),
			slices.Equal(n.AppendMatches(nil, c.filter, 0), []string{"v"}),
		}
		if slices.Contains(got[:], !c.want) {
			t.Errorf("filter %q, name %q: naive, string, filters, names %v, want %v", c.filter, c.name, got, c.want)
		}
	}
}

// TestSpecTogether has all examples in one trie: a filter must not see others.
func TestSpecTogether(t *testing.T) {
	f, n := NewFilters[string, bool](), NewNames[string]()
	filters, names := map[string]bool{}, map[string]bool{}
	for _, c := range specMatches {
		f.Set(c.filter, c.filter, true)
		n.Set(c.name, c.name)
		filters[c.filter], names[c.name] = true, true
	}
	if f.Len() != len(filters) || n.Len() != len(names) {
		t.Fatalf("Len %d and %d, want %d and %d", f.Len(), n.Len(), len(filters), len(names))
	}
	for name := range names {
		var got, want []string
		for _, m := range f.AppendMatches(nil, []byte(name)) {
			got = append(got, m.Key)
		}
		for filter := range filters {
			if naiveMatch(filter, name) {
				want = append(want, filter)
			}
		}
		equalSets(t, "filters of "+name, got, want)
	}
	for filter := range filters {
		var want []string
		for name := range names {
			if naiveMatch(filter, name) {
				want = append(want, name)
			}
		}
		equalSets(t, "names of "+filter, n.AppendMatches(nil, filter, 0), want)
	}
}

func equalSets(t *testing.T, what string, got, want []string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func TestSpecValid(t *testing.T) {
	for _, c := range []struct {
		topic        string
		levels       int
		name, filter error
	}{
		{"", 0, ErrEmpty, ErrEmpty},
		{"/", 2, nil, nil},
		{"/", 1, ErrTooDeep, ErrTooDeep},
		{"Accounts payable", 0, nil, nil},
		{"$SYS/monitor/Clients", 0, nil, nil},
		{"#", 1, ErrWildcardInName, nil},
		{"+", 1, ErrWildcardInName, nil},
		{"/#", 0, ErrWildcardInName, nil},
		{"+/+", 0, ErrWildcardInName, nil},
		{"sport/tennis/#", 3, ErrWildcardInName, nil},
		{"sport/tennis#", 0, ErrWildcardInName, ErrWildcardPlacement},
		{"sport/tennis/#/ranking", 0, ErrWildcardInName, ErrWildcardPlacement},
		{"#/", 0, ErrWildcardInName, ErrWildcardPlacement},
		{"##", 0, ErrWildcardInName, ErrWildcardPlacement},
		{"+#", 0, ErrWildcardInName, ErrWildcardPlacement},
		{"#+", 0, ErrWildcardInName, ErrWildcardPlacement},
		{"++", 0, ErrWildcardInName, ErrWildcardPlacement},
		{"+/tennis/#", 0, ErrWildcardInName, nil},
		{"sport+", 0, ErrWildcardInName, ErrWildcardPlacement},
		{"sport/+/player1", 0, ErrWildcardInName, nil},
		{strings.Repeat("a", 65535), 0, nil, nil},
		{strings.Repeat("a", 65536), 0, ErrTooLong, ErrTooLong},
		{strings.Repeat("/", 65535), 65536, nil, nil},
		{strings.Repeat("/", 65535), 65535, ErrTooDeep, ErrTooDeep},
	} {
		name, filter := ValidName([]byte(c.topic), c.levels), ValidFilter([]byte(c.topic), c.levels)
		if !errors.Is(name, c.name) || !errors.Is(filter, c.filter) {
			t.Errorf("%.40q, %d levels: %v and %v, want %v and %v", c.topic, c.levels, name, filter, c.name, c.filter)
		}
	}
}

func TestSpecShare(t *testing.T) {
	for _, c := range []struct {
		filter, share, rest string
		shared              bool
		want                error
	}{
		{"$share/consumer1/sport/tennis/+", "consumer1", "sport/tennis/+", true, nil},
		{"$share/consumer2/sport/tennis/+", "consumer2", "sport/tennis/+", true, nil},
		{"$share/consumer1//finance", "consumer1", "/finance", true, nil},
		{"$share/a//", "a", "/", true, nil},
		{"$share/$/$SYS/#", "$", "$SYS/#", true, nil},
		{"$share/a/$share/b/c", "a", "$share/b/c", true, nil},
		{"$share//", "", "", true, ErrShare},
		{"$share/a+/b", "", "", true, ErrShare},
		{"$share/#", "", "", true, ErrShare},
		{"$share/a\x00/b", "", "", true, ErrShare},
		{"$SHARE/a/b", "", "$SHARE/a/b", false, nil},
		{"$shar/a/b", "", "$shar/a/b", false, nil},
		{"/$share/a/b", "", "/$share/a/b", false, nil},
		{"", "", "", false, nil},
	} {
		share, rest, shared, err := ParseShare([]byte(c.filter))
		if string(share) != c.share || string(rest) != c.rest || shared != c.shared || !errors.Is(err, c.want) {
			t.Errorf("ParseShare(%q) = %q, %q, %v, %v", c.filter, share, rest, shared, err)
		}
	}
}
