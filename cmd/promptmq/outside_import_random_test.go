//go:build outside

package main

import (
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/crypto/pbkdf2"
)

var (
	dynsecSeed   = flag.Uint64("dynsec.seed", 0, "of random roles and groups; 0: another each time")
	dynsecRounds = flag.Int("dynsec.rounds", 8, "files of random roles and groups that are compared")
)

// randomDynsec is a file of the plugin with clients a to d and boss, roles with priorities, and
// groups.
func randomDynsec(rng *rand.Rand) map[string]any {
	one := func(of ...string) string { return of[rng.IntN(len(of))] }
	filter := func() string {
		f := one("a", "b", "+", "$x")
		for range rng.IntN(3) {
			f += "/" + one("a", "b", "+", "")
		}
		if rng.IntN(3) == 0 {
			f = one("#", f+"/#")
		}
		return f
	}
	prioritised := func(name, value string) map[string]any {
		m := map[string]any{name: value}
		if rng.IntN(3) > 0 {
			m["priority"] = rng.IntN(3)
		}
		return m
	}
	some := func(key string, names ...string) []any {
		list := []any{}
		for _, name := range names {
			if rng.IntN(3) == 0 {
				list = append(list, prioritised(key, name))
			}
		}
		return list
	}
	var roles, groups, clients []any
	for _, name := range []string{"r1", "r2", "r3", "r4"} {
		var acls []any
		seen := make(map[string]bool)
		for range 2 + rng.IntN(5) {
			kind, topic := one("publishClientSend", "publishClientReceive", "subscribeLiteral", "subscribePattern"), filter()
			if seen[kind+topic] {
				continue
			}
			seen[kind+topic] = true
			acls = append(acls, map[string]any{"acltype": kind, "topic": topic, "priority": rng.IntN(3), "allow": rng.IntN(3) > 0})
		}
		roles = append(roles, map[string]any{"rolename": name, "acls": acls})
	}
	var all []any
	for _, kind := range []string{"publishClientSend", "publishClientReceive", "subscribePattern"} {
		for _, topic := range []string{"#", "$x/#"} {
			all = append(all, map[string]any{"acltype": kind, "topic": topic, "priority": 0, "allow": true})
		}
	}
	roles = append(roles, map[string]any{"rolename": "all", "acls": all})
	for _, name := range []string{"g1", "g2", "g3"} {
		groups = append(groups, map[string]any{"groupname": name, "roles": some("rolename", "r1", "r2", "r3", "r4"), "clients": some("username", "a", "b", "c", "d")})
	}
	for _, name := range []string{"boss", "a", "b", "c", "d"} {
		salt := fmt.Appendf(nil, "%-12s", name) // of no other length
		sum := pbkdf2.Key([]byte("pw of "+name), salt, 101, sha512.Size, sha512.New)
		c := map[string]any{
			"username": name, "roles": some("rolename", "r1", "r2", "r3", "r4"), "iterations": 101,
			"password": base64.StdEncoding.EncodeToString(sum), "salt": base64.StdEncoding.EncodeToString(salt),
		}
		if name == "boss" {
			c["roles"] = []any{map[string]any{"rolename": "all"}}
		}
		clients = append(clients, c)
	}
	return map[string]any{
		"clients": clients, "groups": groups, "roles": roles, "anonymousGroup": one("g1", "g2", "g3"),
		"defaultACLAccess": map[string]any{"publishClientSend": rng.IntN(4) == 0, "publishClientReceive": rng.IntN(4) > 0, "subscribe": rng.IntN(4) == 0, "unsubscribe": true},
	}
}

// TestOutsideImportRandom: random roles and groups give the same answers from Mosquitto with its
// plugin and from the broker into which they were moved.
func TestOutsideImportRandom(t *testing.T) {
	seed := *dynsecSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-dynsec.seed=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	world := mosquittoWorld{
		clients: [][2]string{{"", "c0"}, {"a", "c1"}, {"b", "c2"}, {"c", "c3"}, {"d", "c4"}},
		topics:  []string{"a", "b", "a/a", "a/b", "b/a", "a/a/b", "a/", "b//a", "$x/a", "c"},
		filters: []string{"#", "+", "a/#", "a/+", "+/a", "+/+/b", "a/a/#", "+/#", "b//+", "$x/#", "$x/+", "c"},
	}
	for round := range *dynsecRounds {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			addr := freeAddress(t)
			dir := mosquittoCopy(t, "dynsec", addr)
			text, err := json.MarshalIndent(randomDynsec(rng), "", " ")
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, "dynamic-security.json"), text, 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
			stop := startMosquitto(t, dir, addr)
			want := world.ask(t, addr)
			stop()
			s := moved(t, dir)
			wantAnswers(t, world.ask(t, s.listenerAddress("tcp-")), want)
			if t.Failed() {
				t.Logf("%s", text)
			}
		})
	}
}
