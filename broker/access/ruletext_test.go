package access

import (
	"strings"
	"testing"
)

func TestRuleText(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]Rule{
		"allow everyone publish topic a/+/#":              {Actions: Publish, Filter: "a/+/#", MaxQoS: 2},
		"deny everyone all topic #":                       {Deny: true, Actions: allActions, Filter: "#"},
		`allow user "Ann Lee" read topic "room 1/%u"`:     {User: "Ann Lee", Actions: Receive | Subscribe, Filter: "room 1/%u", MaxQoS: 2},
		"allow group staff nobody receive qos 0 topic %c": {Group: "staff", Nobody: true, Actions: Receive, Filter: "%c"},
		"allow user user client topic publish qos 1 noretain topic topic": {User: "user", Client: "topic", Actions: Publish, Filter: "topic",
			MaxQoS: 1, NoRetain: true},
		`allow mosquitto user "" nobody all topic a`: {},
	} {
		rule, err := ParseRule(line)
		if want.Filter == "" {
			if err == nil {
				t.Errorf("%s: %+v", line, rule)
			}
			continue
		}
		if err != nil || rule != want || rule.String() != line {
			t.Errorf("%s: %+v, %v; as text %s", line, rule, err, rule)
		}
	}
	for from, to := range map[string]string{
		"allow subscribe receive everyone qos 2 topic a":          "allow everyone read topic a",
		"  allow\tpublish  read user \"a\" publish topic \"a\" ":  "allow user a all topic a",
		`allow user "\u00e9\x20\u0000b" publish topic "a\u2028b"`: "",
		`allow user "` + "\\u00e9" + `" publish topic "a\u2028b"`: `allow user é publish topic "a\u2028b"`,
	} {
		if rule, err := ParseRule(from); to == "" && err == nil || to != "" && (err != nil || rule.String() != to) {
			t.Errorf("%s: %s, %v", from, rule, err)
		}
	}
}

func TestRuleTextErrors(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"":                                                               "begins with allow or deny",
		"permit everyone publish topic a":                                `not with "permit"`,
		`"allow" everyone publish topic a`:                               "begins with allow or deny",
		"allow everyone publish":                                         "before the word topic",
		"allow everyone publish topic":                                   "no Topic Filter behind topic",
		"allow everyone publish topic a b":                               "must be in quotes",
		"allow everyone publish topic a/#/b":                             "wildcard",
		"allow everyone publish topic a+%u":                              "wildcard",
		"allow everyone topic a":                                         "no action",
		"allow publish topic a":                                          "whom it is about",
		"allow everyone user a publish topic a":                          "somebody beside",
		"allow user a nobody publish topic a":                            "without a user name",
		"allow user a user b publish topic a":                            "twice",
		"allow user":                                                     "no name behind user",
		"allow everyone everyone publish topic a":                        "twice",
		"allow everyone publish qos 3 topic a":                           "0, 1 or 2",
		"allow everyone publish qos 1 qos 1 topic":                       "twice",
		"deny everyone publish qos 1 topic a":                            "for allow",
		"deny everyone publish noretain topic a":                         "for allow",
		"allow everyone read literal topic a":                            "subscribe alone",
		"allow everyone write topic a":                                   `"write" is no word`,
		`allow everyone publish "topic" a`:                               "in quotes, where a word",
		`allow everyone publish topic "a`:                                "does not end",
		`allow everyone publish topic "a"b`:                              "no space behind",
		`allow everyone publish topic a"b`:                               "in quotes as a whole",
		"allow everyone publish topic " + strings.Repeat("a/", 128):      "levels",
		"allow everyone publish topic " + strings.Repeat("a", 8193):      "8192",
		"allow client " + strings.Repeat("a", 1025) + " publish topic a": "1024",
	} {
		if rule, err := ParseRule(line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v, %v", line, rule, err)
		}
	}
}

// FuzzRule: what is read is written as one line that means the same.
func FuzzRule(f *testing.F) {
	for _, line := range []string{"allow everyone publish topic a/+/#", `deny user "a b" client %c read topic "x y/%u"`,
		"deny group g subscribe literal topic a/#", "allow mosquitto nobody all qos 1 noretain topic $SYS/#", `allow group "\n\x00\ufffd" all topic "\\"`} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		rule, err := ParseRule(line)
		if err != nil {
			return
		}
		text := rule.String()
		again, err := ParseRule(text)
		if err != nil || again != rule || strings.ContainsAny(text, "\r\n\x00") {
			t.Fatalf("%q: %+v, written %q: %+v, %v", line, rule, text, again, err)
		}
		// What is read can be asked.
		p := NewPolicy([]Rule{rule})
		for _, who := range []*Identity{nil, {User: "+", Groups: []string{rule.Group}}, {User: rule.User}} {
			s := NewSubject(who, "a/#")
			for _, r := range []Request{{Action: Publish, Topic: "/"}, {Action: Receive, Topic: "$x/a"}, {Action: Subscribe, Topic: "+/#"}} {
				if d, _ := Explain(p, s, r); d.Allowed && rule.Deny {
					t.Fatalf("%q allows", line)
				}
			}
		}
	})
}
