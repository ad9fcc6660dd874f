package mosquitto

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/x0a1b/promptmq/codec"
)

// jsonProperty is a property as Mosquitto 2.1 stores it.
type jsonProperty struct {
	Identifier string          `json:"identifier"`
	Name       string          `json:"name"` // of a User Property
	Value      json.RawMessage `json:"value"`
}

// propertiesFromJSON encodes properties as in a PUBLISH. Correlation Data is in hexadecimal
// digits; where it is not it is taken for Base64.
func propertiesFromJSON(text string) (encoded []byte, err error) {
	var list []jsonProperty
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("they are no list of properties in JSON: %w", err)
	}
	for _, p := range list {
		if encoded, err = p.append(encoded); err != nil {
			return nil, fmt.Errorf("%q: %w", p.Identifier, err)
		}
	}
	return encoded, nil
}

func (p *jsonProperty) append(dst []byte) ([]byte, error) {
	if p.Identifier == "payload-format-indicator" {
		var v byte
		err := json.Unmarshal(p.Value, &v)
		return codec.AppendPayloadFormat(dst, v), err
	}
	if p.Identifier == "message-expiry-interval" { // the time when it ends is kept beside it
		return dst, nil
	}
	var text string
	if err := json.Unmarshal(p.Value, &text); err != nil {
		return nil, err
	}
	if len(text) > 2*0xFFFF || len(p.Name) > 0xFFFF {
		return nil, errors.New("it is too long for a property")
	}
	v := []byte(text)
	if p.Identifier == "correlation-data" {
		var err error
		if v, err = binaryFrom(text); err != nil {
			return nil, err
		}
	}
	if len(v) > 0xFFFF {
		return nil, errors.New("it is too long for a property")
	}
	switch p.Identifier {
	case "content-type":
		return codec.AppendContentType(dst, v), nil
	case "response-topic":
		return codec.AppendResponseTopic(dst, v), nil
	case "correlation-data":
		return codec.AppendCorrelationData(dst, v), nil
	case "user-property":
		return codec.AppendUserProperty(dst, []byte(p.Name), v), nil
	}
	return nil, errors.New("no such property is known of a message")
}

func binaryFrom(text string) ([]byte, error) {
	if b, err := hex.DecodeString(text); err == nil {
		return b, nil
	}
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, errors.New("it is neither in hexadecimal digits nor in Base64")
	}
	return b, nil
}
