package bench

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestMedianAndCells(t *testing.T) {
	with := func(v float64) *Result { return &Result{Figures: Figures{{"delivered_per_s", v}}} }
	failed := &Result{Failure: "dropped"}
	s := sitting{results: map[cell][]*Result{
		{0, 0}: {with(30), with(10), with(20)},
		{0, 1}: {with(40), failed, with(100)},
		{0, 2}: {failed},
	}}
	for _, test := range []struct {
		contender  int
		text, note string
	}{
		{0, "20", ""},
		{1, "70 (3.5)", "1 of 3 runs failed: dropped"},
		{2, "failed", "1 of 1 runs failed: dropped"},
		{3, "", ""},
	} {
		if text, note := s.show(cell{0, test.contender}, "delivered_per_s", 0); text != test.text || note != test.note {
			t.Errorf("contender %d: %q, %q", test.contender, text, note)
		}
	}
}

func TestUnitsAreComplete(t *testing.T) {
	for _, r := range append((&Peers{}).rows(), (&Listeners{}).rows()...) {
		for _, figure := range r.figures {
			if units[figure] == "" {
				t.Errorf("%s has no name for the table", figure)
			}
		}
	}
}

func TestResultJSON(t *testing.T) {
	res := (&Runner{URL: "tcp://h:1", Protocol: "5", Durability: "unknown"}).result("throughput")
	res.add("delivered", 123456)
	res.add("latency_p50_us", 0.123456)
	var b strings.Builder
	if err := res.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	const want = `"figures":{"delivered":123456,"latency_p50_us":0.1235}`
	if !strings.Contains(b.String(), want) || strings.Count(b.String(), "\n") != 1 {
		t.Errorf("%s", b.String())
	}
	var back Result
	if err := json.Unmarshal([]byte(b.String()), &back); err != nil || len(back.Figures) != 2 || back.Figures[0].Name != "delivered" {
		t.Errorf("%v, %+v", err, back)
	}
	res.fail(errors.Join(errors.New("one"), errors.New("two")))
	if res.Failure != "one; two" || res.Figures != nil {
		t.Errorf("%+v", res)
	}
}
