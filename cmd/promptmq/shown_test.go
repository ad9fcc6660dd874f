package main

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/broker/inspect"
)

func TestAge(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"30d": 720 * time.Hour, "0d": 0, "12h": 12 * time.Hour, "1h30m": 90 * time.Minute, "65535d": 65535 * 24 * time.Hour} {
		var a age
		if err := a.UnmarshalText([]byte(text)); err != nil || time.Duration(a) != want {
			t.Errorf("%s: %v, %v", text, time.Duration(a), err)
		}
	}
	for _, text := range []string{"", "30", "-1h", "-1d", "d", "1.5d", "99999999999d", "30 d"} {
		if err := new(age).UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), "30d, 12h or 90m") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestPayloadText(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"21.5": "21.5", "": "", "a\r\n\x1b[2Jb": "a\n" + `\x1b[2Jb`, "\xff\x00": "00000000  ff 00                                             |..|",
	} {
		if got := payloadText([]byte(in)); got != want {
			t.Errorf("%q: %q, expected %q", in, got, want)
		}
	}
}

func TestSessionEnds(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]inspect.Client{
		"never | on disk, never ends":                           {Durable: true, ExpiryInterval: math.MaxUint32},
		"with connection | ends with its connection":            {},
		"1 h after it | on disk, ends 1 h after its connection": {Durable: true, ExpiryInterval: 3600},
		"in 1 h 59 min | on disk, ends in 1 h 59 min":           {Durable: true, ExpiryInterval: 3600, ExpiresAt: time.Now().Add(2*time.Hour - time.Second)},
	} {
		if got := endText(&c) + " | " + sessionText(&c); got != want {
			t.Errorf("%s, expected %s", got, want)
		}
	}
}
