package codec

import (
	"encoding/hex"
	"strings"
	"testing"
)

// TestLimitOfBadConnect: what an answer must keep to is found also in a CONNECT
// that does not parse, wherever the fault is; else it is known to be unknown.
func TestLimitOfBadConnect(t *testing.T) {
	const limit = " 27 00000014 "
	for name, c := range map[string]struct {
		hex     string
		limit   uint32
		unknown bool
	}{
		"no limit":                    {"00044d515454 05 03 003c 00 0001 61", 0, false},
		"reserved flag":               {"00044d515454 05 03 003c 05" + limit + "0001 61", 20, false},
		"before the fault":            {"00044d515454 05 02 003c 08" + limit + "21 0000 0001 61", 20, false},
		"behind the fault":            {"00044d515454 05 02 003c 08 21 0000" + limit + "0001 61", 20, false},
		"behind a boolean":            {"00044d515454 05 02 003c 07 17 02" + limit + "0001 61", 20, false},
		"behind bad UTF-8":            {"00044d515454 05 02 003c 0c 26 0001 ff 0001 61" + limit + "0001 61", 20, false},
		"behind one of PUBLISH":       {"00044d515454 05 02 003c 08 23 0001" + limit + "0001 61", 20, false},
		"behind a repetition":         {"00044d515454 05 02 003c 0b 21 0001 21 0001" + limit + "0001 61", 20, false},
		"twice":                       {"00044d515454 05 02 003c 0a 27 00000100" + limit + "0001 61", 20, false},
		"zero":                        {"00044d515454 05 02 003c 05 27 00000000 0001 61", 0, false},
		"behind an unknown property":  {"00044d515454 05 02 003c 06 7f" + limit + "0001 61", 0, true},
		"behind a length too long":    {"00044d515454 05 02 003c 08 15 ffff" + limit + "0001 61", 0, true},
		"cut":                         {"00044d515454 05 02 003c 05 27 0000", 0, true},
		"a fault in the Will":         {"00044d515454 05 06 003c 05" + limit + "0001 61 02 7f 00 0001 77 0000", 20, false},
		"authentication data alone":   {"00044d515454 05 02 003c 09 16 0001 64" + limit + "0001 61", 20, false},
		"a newer version":             {"00044d515454 06 02 003c 05" + limit + "0001 61", 0, true},
		"the Client Identifier's end": {"00044d515454 05 02 003c 05" + limit + "0009 61", 20, false},
	} {
		body, err := hex.DecodeString(strings.ReplaceAll(c.hex, " ", ""))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var p Connect
		if p.Decode(Frame{First: 0x10, Body: body}) == nil {
			t.Errorf("%s: no error", name)
		}
		if p.Version != Version5 || p.MaximumPacketSize != c.limit || p.LimitUnknown != c.unknown {
			t.Errorf("%s: version %v, limit %d, unknown %t", name, p.Version, p.MaximumPacketSize, p.LimitUnknown)
		}
	}
}

// TestNewerVersion: which versions are answered as 5 says. A bridge of Mosquitto
// sets the highest bit of the level.
func TestNewerVersion(t *testing.T) {
	for level := range 256 {
		for _, name := range []string{"MQTT", "MQIsdp"} {
			body := append(appendString(nil, []byte(name)), byte(level), 2, 0, 0, 0, 0)
			var p Connect
			err := p.Decode(Frame{First: 0x10, Body: body})
			want := Version(0)
			switch {
			case name == "MQIsdp" && level == 3, name == "MQTT" && (level == 4 || level == 5):
				want, err = Version(level), nil
			case name == "MQTT" && level > 5 && level != 0x83 && level != 0x84:
				want = Version5
			}
			if p.Version != want || want == 0 && err != errVersion {
				t.Errorf("%s %d: version %v, %v", name, level, p.Version, err)
			}
		}
	}
}
