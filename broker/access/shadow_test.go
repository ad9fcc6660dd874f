package access

import "testing"

// TestShadows: what init and an import leave before a rule that is added afterwards.
func TestShadows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		first, then string
		want        bool
	}{
		{"allow user ann all topic #", "deny user ann all topic private/#", true},
		{"allow user ann all topic #", "deny everyone all topic private/#", false},
		{"allow user ann all topic #", "allow user ann read topic $SYS/#", false},
		{"allow user ann read topic #", "deny user ann all topic private/#", false},
		{"allow user ann all qos 1 topic #", "deny user ann all topic private/#", false},
		{"allow user ann all noretain topic #", "deny user ann publish topic private/#", false},
		{"allow user ann all noretain topic #", "deny user ann read topic private/#", true},
		{"deny everyone all topic #", "allow user dev all topic x/#", true},
		{"deny everyone all topic #", "allow group g client c publish qos 1 topic x/%u/%c", true},
		{"deny everyone all topic #", "allow everyone all topic %u/#", true},
		{"allow everyone all topic #", "deny everyone all topic %u/#", false}, // $x/# is another part of the tree
		{"deny everyone all topic x/+", "allow everyone all topic x/%u", false},
		{"deny everyone all topic %u/#", "allow user ann all topic ann/#", false},
		{"allow everyone all topic a/%u/#", "allow user ann publish topic a/%u/#", true},
		{"allow everyone all topic a/%u/#", "deny user ann publish topic a/%u/#", false},
		{"allow everyone subscribe literal topic #", "deny everyone subscribe topic #", false},
		{"deny nobody all topic #", "allow everyone all topic a", false},
		{"deny mosquitto everyone all topic #", "allow everyone all topic a", false},
	} {
		first, err := ParseRule(c.first)
		if err != nil {
			t.Fatal(err)
		}
		then, err := ParseRule(c.then)
		if err != nil {
			t.Fatal(err)
		}
		if got := first.Shadows(&then); got != c.want {
			t.Errorf("%s, then %s: %v", c.first, c.then, got)
		}
	}
}

// TestShadowsOracle: a rule that is said to have no effect decides nothing.
func TestShadowsOracle(t *testing.T) {
	t.Parallel()
	rng, o := seeded(t), newOracle()
	shadowed, decided := 0, 0
	for n := 0; n < *oracleCases/20; n++ {
		rules := []Rule{randomRule(rng), randomRule(rng)}
		if rng.IntN(2) == 0 {
			first := rules[1]
			if rules[0] = first; rng.IntN(2) == 0 {
				rules[0].Filter = randomFilter(rng, 1, false)
			}
			if rules[0].Deny = rng.IntN(2) == 0; rules[0].Check() != nil {
				continue
			}
		}
		shadows := rules[0].Shadows(&rules[1])
		for range 4 {
			id := &Identity{User: oneOf(rng, oracleNames...), Groups: [][]string{nil, {"g"}, {"h", "g"}}[rng.IntN(3)]}
			client := oneOf(rng, oracleNames...)
			for _, r := range randomRequests(rng) {
				_, by := o.allowed(rules, id, client, r)
				switch {
				case by == 1 && shadows:
					t.Fatalf("case %d: user %q of %q, client %q, %s: the second decides of\n%s", n, id.User, id.Groups, client, r, listed(rules))
				case by == 1:
					decided++
				case by == 0 && shadows:
					shadowed++
				}
			}
		}
	}
	if shadowed < 100 || decided < 100 {
		t.Errorf("%d requests of rules that are shadowed, %d decided by others: they are not worth much", shadowed, decided)
	}
}
