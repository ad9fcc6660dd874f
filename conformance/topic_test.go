package conformance

import (
	"strings"

	"github.com/x0a1b/promptmq/codec"
)

// Section 4.7: Topic Names and Topic Filters.
var topicTests = []test{
	{"topic/wildcards-match", "4.7.1-1 4.7.1-2", "4.7.1-2 4.7.1-3", func(t *T) {
		t.needWildcard()
		base := t.topic()
		for _, c := range []struct {
			filter  string
			yes, no []string
		}{
			{"/#", []string{"", "/a", "/a/b/c", "//", "/"}, nil},
			{"/+", []string{"/a", "/"}, []string{"", "/a/b", "//"}},
			{"/+/c", []string{"/a/c", "//c"}, []string{"/c", "/a/b/c", "/a/c/"}},
			{"/+/+", []string{"/a/b", "//"}, []string{"/a", "/a/b/c"}},
			{"/a/#", []string{"/a", "/a/", "/a/b"}, []string{"/ab", "", "/A"}},
			{"/a/+/#", []string{"/a/b", "/a/b/c", "/a/"}, []string{"/a"}},
			{"", []string{""}, []string{"/"}},
			{"/", []string{"/"}, []string{"", "//"}},
		} {
			p := t.connect()
			p.subscribe(sub(base+c.filter, 0))
			for _, name := range c.no {
				p.publish(base+name, "no "+name, 0)
			}
			for _, name := range c.yes {
				p.publish(base+name, name, 0)
			}
			for _, m := range p.expectAll(c.yes...) {
				if m.topic != base+m.payload {
					t.Errorf("%q: %v", c.filter, m)
				}
			}
			p.quiet()
		}
	}},
	{"topic/wildcard-first", "4.7.1-1 4.7.1-2", "4.7.1-2 4.7.1-3", func(t *T) {
		t.needWildcard()
		p := t.connect()
		name := unique("conformance")
		p.subscribe(sub("+/"+name, 0), sub("+/+/"+name, 0), sub("+", 0))
		p.publish("/"+name, "1", 0)
		p.publish("//"+name, "2", 0)
		p.publish(name, "3", 0)
		seen := map[string]bool{}
		for len(seen) < 3 { // others may publish to one level too
			if m := p.take(); strings.HasSuffix(m.topic, name) {
				if seen[m.payload] {
					t.Fatalf("%v comes twice", m)
				}
				seen[m.payload] = true
			}
		}
	}},
	{"topic/dollar", "4.7.2-1", "4.7.2-1", func(t *T) {
		t.needWildcard()
		p := t.connect()
		name := unique("conformance")
		p.subscribe(sub("+/"+name+"/#", 0))
		q := t.connect() // which a server may refuse or disconnect for it
		q.publishOnly("$conformance/"+name, "hidden", 0)
		q.closedOrServed()
		p.publish("a/"+name, "seen", 0)
		p.expect("seen")
		p.quiet()
	}},
	{"topic/no-normalization", "4.7.3-4", "4.7.3-4", func(t *T) {
		p := t.connect()
		base := t.topic()
		names := []string{"/a", "/A", "//a", "/a/", "/./a", "/b/../a", "/ a", "/a ", "/%61", "/é", "/e\u0301", "/ａ", "/\u200Ba", "/a?b=c"}
		for _, name := range names {
			p.subscribe(sub(base+name, 0))
		}
		for _, name := range names {
			p.publish(base+name, name, 0)
			if m := p.expect(name); m.topic != base+name {
				t.Errorf("%q came back as %q", name, strings.TrimPrefix(m.topic, base))
			}
		}
		p.quiet()
	}},
	{"topic/longest", "4.7.3-3", "4.7.3-3", func(t *T) {
		// 65,535 bytes are allowed and no string can be longer; a server may
		// still refuse, but must stay sound.
		p := t.connect()
		base := t.topic() + "/"
		name := base + strings.Repeat("x", 65535-len(base))
		if limit := offered.packetBytesMax; limit > 0 && limit < 66000 {
			t.NotOffered("packets of 66,000 bytes")
		}
		if p.trySubscribe(0, sub(name, 0))[0] >= 0x80 {
			t.NotOffered("Topic Filters of 65,535 bytes")
		}
		p.publish(name, "long", 0)
		if m := p.expect("long"); m.topic != name {
			t.Errorf("a Topic Name of %d bytes came back with %d", len(name), len(m.topic))
		}
	}},
	{"topic/slashes-alone", "4.7.3-1", "4.7.3-1", func(t *T) {
		p := t.connect()
		mark := unique("")
		p.subscribe(sub("/", 0))
		p.publish("/", mark, 0)
		for p.take().payload != mark { // others may publish to it too
		}
	}},
}

// readAfterPing returns the first PUBLISH that comes before the answer to a
// PINGREQ, nil if none does, or soon after.
func (p *peer) readAfterPing() (*message, error) {
	p.t.Helper()
	p.append(codec.AppendPingreq(nil), nil)
	for pinged := false; ; {
		got, err := p.read(soon())
		if err != nil {
			return nil, err
		}
		switch got.typ {
		case codec.TypePublish:
			return got.message, nil
		case codec.TypePingresp:
			if pinged {
				return nil, nil
			}
			pinged = true // one more round, for a message that its writer had not sent yet
			p.append(codec.AppendPingreq(nil), nil)
		}
	}
}
