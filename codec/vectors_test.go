package codec

import (
	"encoding/hex"
	"strings"
	"testing"
)

// A vector is one packet in hexadecimal; spaces are for the reader. For a
// malformed one, reason and rule are those of the error.
type vector struct {
	name    string
	version Version
	hex     string
	reason  ReasonCode // 0: the packet is valid
	rule    string
	// lenient: valid, but not the form that Append writes.
	lenient bool
}

// validVectors feed decoding, appending, truncation, fuzzing and the allocation
// tests; malformedVectors decoding, fuzzing and the allocation tests.
var validVectors = []vector{
	{name: "connect 3.1", version: 3, hex: "10 0f 0006 4d5149736470 03 02 003c 0001 61"},
	{name: "connect 3.1.1", version: 4, hex: "10 0d 0004 4d515454 04 02 003c 0001 61"},
	{name: "connect 3.1.1 empty id", version: 4, hex: "10 0c 0004 4d515454 04 02 0000 0000"},
	{name: "connect 3.1.1 will user password", version: 4,
		hex: "101b00044d51545404ee003c0001610001770002686900017500027077"},
	{name: "connect 5", version: 5, hex: "10 0e 0004 4d515454 05 02 003c 00 0001 61"},
	{name: "connect 5 password only", version: 5, hex: "10 12 0004 4d515454 05 42 003c 00 0001 61 0002 7077"},
	{name: "connect 5 properties", version: 5, hex: "10 38 0004 4d515454 05 00 003c 2a" +
		"11 0000000a 21 0014 27 00000100 22 0005 19 01 17 00 15 0001 6d 16 0001 64 26 0001 6b 0001 76 26 0001 6b 0001 77 0001 61"},
	{name: "connect 5 will", version: 5,
		hex: "103d00044d5154540536003c00000161261800000005020000000a01010300017408000172090001632600016b0001762600016b0001770001770003626164"},
	{name: "connack 3.1.1", version: 4, hex: "20 02 01 00"},
	{name: "connack 3.1.1 refused", version: 4, hex: "20 02 00 05"},
	{name: "connack 3.1 refused", version: 3, hex: "20 02 00 02"},
	{name: "connack 5", version: 5, hex: "20 03 00 00 00"},
	{name: "connack 5 properties", version: 5,
		hex: "203f01003c110000000a21001424012700000100120001612200051f0001722500280029002a0013003c1a0001691c0001731500016d160001642600016b000176"},
	{name: "publish qos 0", version: 4, hex: "30 08 0003 612f62 68692e"},
	{name: "publish qos 0 empty payload retained", version: 4, hex: "31 05 0003 612f62"},
	{name: "publish qos 1", version: 4, hex: "32 09 0003 612f62 000a 6869"},
	{name: "publish qos 1 dup", version: 3, hex: "3a 09 0003 612f62 000a 6869"},
	{name: "publish qos 2", version: 5, hex: "34 0a 0003 612f62 ffff 00 6869"},
	{name: "publish 5 alias only", version: 5, hex: "30 07 0000 03 23 0001 78"},
	{name: "publish 5 properties", version: 5,
		hex: "332a000161000122020000000a2300070b050b800101010300017408000172090001632600016b0001766869"},
	{name: "publish 5 split", version: 5, lenient: true,
		hex: "301600016112010123000103000174020000000a09000163"},
	{name: "publish 5 split often", version: 5, lenient: true,
		hex: "302d0001612201010b01030001740b022600016b0001760b03080001720b040900016302000000017061796c6f6164"},
	{name: "puback", version: 4, hex: "40 02 000a"},
	{name: "puback 5 reason", version: 5, hex: "40 03 000a 10"},
	{name: "puback 5 long success", version: 5, lenient: true, hex: "40 04 000a 00 00"},
	{name: "pubrec 5 properties", version: 5, hex: "50 0f 000a 97 0b 1f 0001 72 26 0001 6b 0001 76"},
	{name: "pubrel", version: 5, hex: "62 02 000a"},
	{name: "pubrel 5 reason", version: 5, hex: "62 03 000a 92"},
	{name: "pubcomp", version: 3, hex: "70 02 000a"},
	{name: "subscribe 3.1.1", version: 4, hex: "82 0a 000a 0001 61 01 0001 62 02"},
	{name: "subscribe 5", version: 5, hex: "82 12 000a 09 0b 05 26 0001 6b 0001 76 0003 612f23 2e"},
	{name: "suback 3.1.1", version: 4, hex: "90 04 000a 01 80"},
	{name: "suback 5", version: 5, hex: "90 0a 000a 04 1f 0001 72 02 00 97"},
	{name: "unsubscribe 3.1.1", version: 4, hex: "a2 05 000a 0001 61"},
	{name: "unsubscribe 5", version: 5, hex: "a2 10 000a 07 26 0001 6b 0001 76 0001 61 0001 62"},
	{name: "unsuback 3.1.1", version: 4, hex: "b0 02 000a"},
	{name: "unsuback 5", version: 5, hex: "b0 05 000a 00 00 11"},
	{name: "pingreq", version: 4, hex: "c0 00"},
	{name: "pingresp", version: 5, hex: "d0 00"},
	{name: "disconnect 3.1.1", version: 4, hex: "e0 00"},
	{name: "disconnect 5", version: 5, hex: "e0 00"},
	{name: "disconnect 5 reason", version: 5, hex: "e0 01 04"},
	{name: "disconnect 5 properties", version: 5, hex: "e0 16 8e 14 11 0000000a 1f 0001 72 1c 0001 73 26 0001 6b 0001 76"},
	{name: "auth", version: 5, hex: "f0 00"},
	{name: "auth properties", version: 5, hex: "f0 15 18 13 15 0001 6d 16 0001 64 1f 0001 72 26 0001 6b 0001 76"},
}

const (
	mal   = MalformedPacket
	proto = ProtocolError
)

var malformedVectors = []vector{
	{name: "remaining length of five bytes", version: 5, hex: "30 8080808001", reason: mal, rule: "MQTT-1.5.5-1"},
	{name: "remaining length not minimal", version: 5, hex: "c0 8000", reason: mal, rule: "MQTT-1.5.5-1"},
	{name: "type 0", version: 5, hex: "00 00", reason: mal},
	{name: "flags of pubrel", version: 5, hex: "60 02 000a", reason: mal, rule: "MQTT-2.1.3-1"},
	{name: "flags of subscribe", version: 5, hex: "80 06 000a 00 0001 61 00", reason: mal, rule: "MQTT-2.1.3-1"},
	{name: "flags of pingreq", version: 5, hex: "c1 00", reason: mal, rule: "MQTT-2.1.3-1"},
	{name: "too large", version: 5, hex: "30 ffffff7f", reason: PacketTooLarge},
	{name: "connect version 6", version: 5, hex: "10 0e 0004 4d515454 06 02 003c 00 0001 61", reason: UnsupportedProtocolVersion, rule: "MQTT-3.1.2-2"},
	{name: "connect name", version: 5, hex: "10 0e 0004 4d515453 05 02 003c 00 0001 61", reason: UnsupportedProtocolVersion, rule: "MQTT-3.1.2-2"},
	{name: "connect bridge bit", version: 4, hex: "10 0d 0004 4d515454 84 02 003c 0001 61", reason: UnsupportedProtocolVersion, rule: "MQTT-3.1.2-2"},
	{name: "connect reserved flag", version: 5, hex: "10 0e 0004 4d515454 05 03 003c 00 0001 61", reason: mal, rule: "MQTT-3.1.2-3"},
	{name: "connect will qos 3", version: 4, hex: "10 13 0004 4d515454 04 1e 003c 0001 61 0001 77 0001 78", reason: mal, rule: "MQTT-3.1.2-12"},
	{name: "connect will qos without will", version: 5, hex: "10 0e 0004 4d515454 05 0a 003c 00 0001 61", reason: mal, rule: "MQTT-3.1.2-11"},
	{name: "connect will retain without will", version: 5, hex: "10 0e 0004 4d515454 05 22 003c 00 0001 61", reason: mal, rule: "MQTT-3.1.2-11"},
	{name: "connect 3.1.1 password only", version: 4, hex: "10 11 0004 4d515454 04 42 003c 0001 61 0002 7077", reason: mal, rule: "MQTT-3.1.2-22"},
	{name: "connect trailing", version: 4, hex: "10 0e 0004 4d515454 04 02 003c 0001 61 00", reason: mal},
	{name: "connect user missing", version: 4, hex: "10 0d 0004 4d515454 04 82 003c 0001 61", reason: mal},
	{name: "connect id not utf-8", version: 4, hex: "10 0d 0004 4d515454 04 02 003c 0001 ff", reason: mal, rule: "MQTT-1.5.4-1"},
	{name: "connect receive maximum 0", version: 5, hex: "10 11 0004 4d515454 05 02 003c 03 21 0000 0001 61", reason: proto},
	{name: "connect packet size 0", version: 5, hex: "10 13 0004 4d515454 05 02 003c 05 27 00000000 0001 61", reason: proto},
	{name: "connect property twice", version: 5, hex: "10 14 0004 4d515454 05 02 003c 06 21 0001 21 0001 0001 61", reason: proto},
	{name: "connect property of publish", version: 5, hex: "10 11 0004 4d515454 05 02 003c 03 23 0001 0001 61", reason: mal},
	{name: "connect property boolean", version: 5, hex: "10 10 0004 4d515454 05 02 003c 02 17 02 0001 61", reason: proto},
	{name: "connect property unknown", version: 5, hex: "10 10 0004 4d515454 05 02 003c 02 7f 02 0001 61", reason: mal},
	{name: "connect property length", version: 5, hex: "10 0e 0004 4d515454 05 02 003c 7f 0001 61", reason: mal},
	{name: "connect auth data alone", version: 5, hex: "10 12 0004 4d515454 05 02 003c 04 16 0001 64 0001 61", reason: proto},
	{name: "connack flags", version: 5, hex: "20 03 02 00 00", reason: mal, rule: "MQTT-3.2.2-1"},
	{name: "connack 3.1 present", version: 3, hex: "20 02 01 00", reason: mal, rule: "MQTT-3.2.2-1"},
	{name: "connack present and refused", version: 5, hex: "20 03 01 87 00", reason: proto, rule: "MQTT-3.2.2-6"},
	{name: "connack reason", version: 5, hex: "20 03 00 8b 00", reason: proto},
	{name: "connack return code", version: 4, hex: "20 02 00 06", reason: proto},
	{name: "publish qos 3", version: 5, hex: "36 08 0001 61 0001 00 6869", reason: mal, rule: "MQTT-3.3.1-4"},
	{name: "publish dup at qos 0", version: 4, hex: "38 05 0003 612f62", reason: mal, rule: "MQTT-3.3.1-2"},
	{name: "publish id 0", version: 4, hex: "32 07 0003 612f62 0000", reason: mal, rule: "MQTT-2.2.1-3"},
	{name: "publish plus", version: 4, hex: "30 05 0003 612f2b", reason: TopicNameInvalid, rule: "MQTT-3.3.2-2"},
	{name: "publish hash", version: 5, hex: "30 06 0003 612f23 00", reason: TopicNameInvalid, rule: "MQTT-3.3.2-2"},
	{name: "publish empty topic 3.1.1", version: 4, hex: "30 02 0000", reason: mal, rule: "MQTT-4.7.3-1"},
	{name: "publish empty topic 5", version: 5, hex: "30 03 0000 00", reason: proto, rule: "MQTT-4.7.3-1"},
	{name: "publish null", version: 4, hex: "30 05 0003 610062", reason: mal, rule: "MQTT-1.5.4-2"},
	{name: "publish surrogate", version: 4, hex: "30 05 0003 eda080", reason: mal, rule: "MQTT-1.5.4-1"},
	{name: "publish overlong utf-8", version: 4, hex: "30 04 0002 c0af", reason: mal, rule: "MQTT-1.5.4-1"},
	{name: "publish alias 0", version: 5, hex: "30 07 0001 61 03 23 0000", reason: TopicAliasInvalid, rule: "MQTT-3.3.2-8"},
	{name: "publish response wildcard", version: 5, hex: "30 08 0001 61 04 08 0001 2b", reason: proto, rule: "MQTT-3.3.2-14"},
	{name: "publish subscription id 0", version: 5, hex: "30 06 0001 61 02 0b 00", reason: proto},
	{name: "publish property varint", version: 5, hex: "30 07 0001 61 03 0b 8000", reason: mal, rule: "MQTT-1.5.5-1"},
	{name: "publish expiry twice", version: 5, hex: "30 0e 0001 61 0a 02 00000001 02 00000001", reason: proto},
	{name: "puback id 0", version: 4, hex: "40 02 0000", reason: mal, rule: "MQTT-2.2.1-3"},
	{name: "puback reason", version: 5, hex: "40 03 0001 92", reason: proto},
	{name: "puback 3.1.1 with reason", version: 4, hex: "40 03 0001 00", reason: mal},
	{name: "puback short", version: 4, hex: "40 01 00", reason: mal},
	{name: "subscribe empty", version: 4, hex: "82 02 000a", reason: proto, rule: "MQTT-3.8.3-2"},
	{name: "subscribe options", version: 5, hex: "82 07 000a 00 0001 61 40", reason: mal, rule: "MQTT-3.8.3-5"},
	{name: "subscribe options 3.1.1", version: 4, hex: "82 06 000a 0001 61 04", reason: mal, rule: "MQTT-3.8.3-5"},
	{name: "subscribe qos 3", version: 5, hex: "82 07 000a 00 0001 61 03", reason: proto},
	{name: "subscribe retain handling", version: 5, hex: "82 07 000a 00 0001 61 30", reason: proto},
	{name: "subscribe empty filter", version: 4, hex: "82 05 000a 0000 00", reason: mal, rule: "MQTT-4.7.3-1"},
	{name: "unsubscribe empty", version: 4, hex: "a2 02 000a", reason: proto, rule: "MQTT-3.10.3-2"},
	{name: "suback reason", version: 5, hex: "90 04 000a 00 03", reason: proto},
	{name: "pingreq body", version: 4, hex: "c0 01 00", reason: mal},
	{name: "disconnect reason", version: 5, hex: "e0 01 01", reason: proto},
	{name: "disconnect body 3.1.1", version: 4, hex: "e0 01 00", reason: mal},
	{name: "auth 3.1.1", version: 4, hex: "f0 00", reason: proto},
	{name: "auth data alone", version: 5, hex: "f0 06 18 04 16 0001 64", reason: proto},
}

func (v *vector) bytes(t testing.TB) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(v.hex, " ", ""))
	if err != nil {
		t.Fatalf("%s: %v", v.name, err)
	}
	return b
}

// frameOf reads the only packet in b.
func frameOf(b []byte, packetBytesMax int) (Frame, error) {
	var r Reader
	r.Reset(packetBytesMax)
	r.Lend(make([]byte, 0, len(b)+1))
	r.Wrote(copy(r.Room(), b))
	return r.Next()
}
