package config

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"unicode"

	"github.com/x0a1b/promptmq/broker/login"
)

// This file is about values that stand elsewhere: ${NAME} in the file is a variable of the
// environment, and file:/path is what a file holds, for a key that may have a secret. What is
// written is kept beside what it stands for, so that only the former is shown.

// filePrefix begins the value of a key that may have a secret, if a file has it.
const filePrefix = "file:"

// secretBytesMax is more than a URL with a token in it needs.
const secretBytesMax = 16 << 10

// mayBeSecret reports whether values of this kind may have a secret in them, as the query of a
// URL. They are taken from a file too, and are not shown in errors.
func mayBeSecret(k kind) bool {
	_, isURL := k.(webURL)
	return isURL
}

var references = regexp.MustCompile(`\$?\$\{([^}]*)(\}?)`)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// hasReference reports whether expand would change text.
func hasReference(text string) bool { return strings.Contains(text, "${") }

// escaped is text as the file has it where ${ is to stay as it is.
func escaped(text string) string { return strings.ReplaceAll(text, "${", "$${") }

// expand returns text with variables of environ in the place of ${NAME} and ${NAME:-default},
// and ${ in that of $${. The default holds for a variable that is set to nothing too.
func expand(text string, environ []string) (expanded string, err error) {
	expanded = references.ReplaceAllStringFunc(text, func(found string) string {
		if strings.HasPrefix(found, "$$") {
			return found[1:]
		}
		m := references.FindStringSubmatch(found)
		name, otherwise, hasDefault := strings.Cut(m[1], ":-")
		if m[2] == "" || !variableName.MatchString(name) {
			err = errors.Join(err, fmt.Errorf("%q is no reference; it must be ${NAME} or ${NAME:-default}, and $${ where ${ itself is meant", found))
			return ""
		}
		value, set := variable(environ, name)
		switch {
		case hasDefault && value == "":
			return otherwise
		case !set:
			err = errors.Join(err, fmt.Errorf("the variable %s is not set; set it, or write ${%s:-default}", name, name))
		}
		return value
	})
	return expanded, err
}

// variable returns the last value of a variable, which is the one that programs get.
func variable(environ []string, name string) (value string, set bool) {
	for _, assignment := range environ {
		if n, v, _ := strings.Cut(assignment, "="); n == name {
			value, set = v, true
		}
	}
	return value, set
}

// dereference returns what a value of a kind stands for: that of a secret may be in a file.
func dereference(k kind, text string) (string, error) {
	if !strings.HasPrefix(text, filePrefix) {
		return text, nil
	}
	name := strings.TrimPrefix(text, filePrefix)
	if !mayBeSecret(k) {
		switch k.(type) {
		case filePath, directory:
			return "", fmt.Errorf("%q is not allowed; it must be the path alone, without %q", text, filePrefix)
		}
		return text, nil
	}
	if !strings.HasPrefix(name, "/") {
		return "", fmt.Errorf("%q is not allowed; behind %q there must be an absolute path", text, filePrefix)
	}
	content, err := login.ReadWhole(name, secretBytesMax)
	if err != nil {
		if failed, ok := errors.AsType[*fs.PathError](err); ok {
			err = fmt.Errorf("%s: %w", name, failed.Err)
		}
		return "", err
	}
	if len(content) > secretBytesMax {
		return "", fmt.Errorf("%s is longer than the %d bytes that are allowed", name, secretBytesMax)
	}
	secret := strings.TrimSpace(string(content))
	if secret == "" || strings.ContainsFunc(secret, unicode.IsControl) {
		return "", fmt.Errorf("%s must have one line", name)
	}
	return secret, nil
}

// notAllowed says that of a reference, and not what it stands for, which may have come into the
// wrong place.
func notAllowed(written string, k kind) string {
	return fmt.Sprintf("what %q stands for is not allowed; it must be %s", written, k.allowed())
}

// parseValue parses into *field a value that was written as text, and stands for expanded where
// that is something else.
func parseValue(k kind, field any, text, expanded string, from Origin, path string) *Error {
	value, err := dereference(k, expanded)
	if err != nil {
		return &Error{Origin: from, Key: path, Text: err.Error()}
	}
	hidden := value != text || mayBeSecret(k)
	if fault := atTheEdge(value); fault != "" {
		if hidden {
			return &Error{Origin: from, Key: path, Text: fault + "; remove it", edge: true}
		}
		return &Error{Origin: from, Key: path, Text: fmt.Sprintf("%q %s; remove it", value, fault), edge: true}
	}
	switch err := k.parse(field, value); {
	case err == nil:
		return nil
	case value != text && !mayBeSecret(k):
		return &Error{Origin: from, Key: path, Text: notAllowed(text, k)}
	default:
		return &Error{Origin: from, Key: path, Text: err.Error()}
	}
}
