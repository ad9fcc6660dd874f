package access

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/x0a1b/promptmq/codec"
)

// String returns the Rule as the one line that ParseRule reads, without Where:
//
//	allow|deny WHO ACTION... [qos N] [noretain] [literal] topic FILTER
func (r Rule) String() string {
	words := []string{"allow"}
	if r.Deny {
		words[0] = "deny"
	}
	if r.Mosquitto {
		words = append(words, "mosquitto")
	}
	words = append(words, r.who()...)
	words = append(words, r.Actions.words()...)
	if !r.Deny && r.MaxQoS < 2 {
		words = append(words, "qos", strconv.Itoa(int(r.MaxQoS)))
	}
	if !r.Deny && r.NoRetain {
		words = append(words, "noretain")
	}
	if r.Literal {
		words = append(words, "literal")
	}
	return strings.Join(append(words, "topic", quoted(r.Filter)), " ")
}

func (r *Rule) who() (words []string) {
	for _, name := range []struct{ word, name string }{{"user", r.User}, {"group", r.Group}, {"client", r.Client}} {
		if name.name != "" {
			words = append(words, name.word, quoted(name.name))
		}
	}
	if r.Nobody {
		words = append(words, "nobody")
	}
	if words == nil {
		return []string{"everyone"}
	}
	return words
}

// The words for actions, and those for several.
var actionWords = []struct {
	word    string
	actions Actions
}{
	{"all", allActions}, {"read", Receive | Subscribe}, {"publish", Publish}, {"receive", Receive}, {"subscribe", Subscribe},
}

func (a Actions) words() (words []string) {
	for _, w := range actionWords {
		if a&w.actions == w.actions {
			words = append(words, w.word)
			a &^= w.actions
		}
	}
	return words
}

// String returns the words that ParseRule reads for them.
func (a Actions) String() string { return strings.Join(a.words(), " ") }

// quoted returns a name as it is if it is one word, else as a string of Go.
func quoted(name string) string {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool {
		return r == '"' || r == '\\' || r == unicode.ReplacementChar || unicode.IsSpace(r) || !unicode.IsPrint(r)
	}) {
		return strconv.Quote(name)
	}
	return name
}

// ParseRule reads the one line that Rule.String writes. WHO is everyone, or one or more of
// user NAME, group NAME, client ID and nobody; an ACTION is publish, receive, subscribe,
// read (receive and subscribe) or all. A name or Topic Filter with spaces is in double
// quotes, as strings of Go are. What it returns passed Rule.Check.
func ParseRule(line string) (Rule, error) {
	words, err := splitWords(line)
	if err != nil {
		return Rule{}, err
	}
	p := ruleParser{words: words, rule: Rule{MaxQoS: 2}}
	if err := p.parse(); err != nil {
		return Rule{}, err
	}
	if p.rule.Deny {
		p.rule.MaxQoS = 0
	}
	return p.rule, p.rule.Check()
}

type word struct {
	text   string
	quoted bool
}

func splitWords(line string) (words []word, err error) {
	const space = " \t"
	for {
		line = strings.TrimLeft(line, space)
		switch {
		case line == "":
			return words, nil
		case line[0] == '"':
			text, err := strconv.QuotedPrefix(line)
			if err != nil {
				return nil, fmt.Errorf("a string in quotes that does not end, or has an escape that there is not: %s", shortened(line))
			}
			line = line[len(text):]
			if line != "" && !strings.ContainsRune(space, rune(line[0])) {
				return nil, fmt.Errorf("there is no space behind %s", shortened(text))
			}
			text, _ = strconv.Unquote(text) // it is what QuotedPrefix found
			words = append(words, word{text, true})
		default:
			end := strings.IndexAny(line+" ", space)
			text := line[:end]
			if strings.ContainsAny(text, `"\`) {
				return nil, fmt.Errorf(`%s: with " or \ in it, it must be in quotes as a whole`, shortened(text))
			}
			words, line = append(words, word{text, false}), line[end:]
		}
	}
}

type ruleParser struct {
	words    []word
	rule     Rule
	everyone bool
	qos      bool
}

func (p *ruleParser) next() (word, bool) {
	if len(p.words) == 0 {
		return word{}, false
	}
	w := p.words[0]
	p.words = p.words[1:]
	return w, true
}

func (p *ruleParser) parse() error {
	switch first, _ := p.next(); {
	case first.quoted || first.text != "allow" && first.text != "deny":
		return fmt.Errorf("a rule begins with allow or deny, not with %s", shortened(first.text))
	default:
		p.rule.Deny = first.text == "deny"
	}
	for {
		w, ok := p.next()
		switch {
		case !ok:
			return errors.New("the rule ends before the word topic and a Topic Filter")
		case w.quoted:
			return fmt.Errorf("%s in quotes, where a word such as user, publish or topic is expected", shortened(w.text))
		case w.text == "topic":
			return p.end()
		}
		if err := p.condition(w.text); err != nil {
			return err
		}
	}
}

// condition takes the word and, if it has one, its value.
func (p *ruleParser) condition(text string) error {
	r := &p.rule
	switch text {
	case "user":
		return p.name(text, &r.User)
	case "group":
		return p.name(text, &r.Group)
	case "client":
		return p.name(text, &r.Client)
	case "qos":
		return p.maxQoS()
	case "nobody":
		return once(text, &r.Nobody)
	case "everyone":
		return once(text, &p.everyone)
	case "noretain":
		return once(text, &r.NoRetain)
	case "literal":
		return once(text, &r.Literal)
	case "mosquitto":
		return once(text, &r.Mosquitto)
	}
	for _, w := range actionWords {
		if w.word == text {
			r.Actions |= w.actions
			return nil
		}
	}
	return fmt.Errorf("%s is no word of a rule: they are everyone, user, group, client, nobody, publish, receive, subscribe, read, all, qos, noretain, literal and topic", shortened(text))
}

func once(word string, flag *bool) error {
	if *flag {
		return fmt.Errorf("%s is there twice", word)
	}
	*flag = true
	return nil
}

func (p *ruleParser) name(word string, name *string) error {
	w, ok := p.next()
	switch {
	case !ok || w.text == "":
		return fmt.Errorf("there is no name behind %s", word)
	case *name != "":
		return fmt.Errorf("%s is there twice; a rule is about one", word)
	}
	*name = w.text
	return nil
}

func (p *ruleParser) maxQoS() error {
	w, _ := p.next()
	if w.text != "0" && w.text != "1" && w.text != "2" {
		return errors.New("qos is followed by 0, 1 or 2")
	}
	p.rule.MaxQoS = codec.QoS(w.text[0] - '0')
	return once("qos", &p.qos)
}

// end takes the Topic Filter, and checks what belongs together.
func (p *ruleParser) end() error {
	filter, ok := p.next()
	r := &p.rule
	r.Filter = filter.text
	named := r.User != "" || r.Group != "" || r.Client != "" || r.Nobody
	switch {
	case !ok:
		return errors.New("there is no Topic Filter behind topic")
	case len(p.words) > 0:
		return fmt.Errorf("%s behind the Topic Filter; one with spaces must be in quotes", shortened(p.words[0].text))
	case p.everyone == named && named:
		return errors.New("everyone, and somebody beside it")
	case !p.everyone && !named:
		return errors.New("it does not say whom it is about: everyone, user NAME, group NAME, client ID or nobody")
	case r.Actions == 0:
		return errors.New("it has no action: publish, receive, subscribe, read or all")
	case r.Deny && (p.qos || r.NoRetain):
		return errors.New("qos and noretain are for allow; deny is about every QoS, retained or not")
	}
	return nil
}

// shortened is a text for an error.
func shortened(text string) string {
	const most = 60
	if runes := []rune(text); len(runes) > most {
		return strconv.Quote(string(runes[:most])) + "..."
	}
	return strconv.Quote(text)
}
