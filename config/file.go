package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// fileBytesMax is far more than every key with a comment needs.
const fileBytesMax = 1 << 20

// readFile takes over every valid setting of a YAML file and returns what is
// wrong with the others.
func (c *Config) readFile(name string, before *Config) Errors {
	text, err := readText(name)
	if err != nil {
		if fault := atTheEdge(name); fault != "" {
			return Errors{{Origin: Origin{Name: strconv.Quote(name)}, Text: err.Error() + "; the name " + fault}}
		}
		return Errors{{Origin: Origin{Name: name}, Text: err.Error()}}
	}
	c.fileText = text
	errs := c.readYAML(name, text)
	if len(errs) == 0 && before != nil && !c.fileEnds && cutOff(text, before.fileText) {
		return Errors{{Origin: Origin{Name: name, Line: bytes.Count(text, []byte("\n"))}, Text: "is the beginning of what it was before: if nothing was cut off, end it with the line \"# end\""}}
	}
	return errs
}

func (c *Config) readYAML(name string, text []byte) Errors {
	text, err := asUTF8(name, text)
	if err != nil {
		return Errors{err}
	}
	if err := c.checkEnd(name, string(text)); err != nil {
		return Errors{err}
	}
	tree, parseErr := parser.ParseBytes(text, 0)
	if parseErr != nil {
		return pointOut(Errors{syntaxError(name, parseErr)}, text)
	}
	f := fileReader{config: c, name: name, expands: true, variables: c.variables}
	for i, doc := range tree.Docs {
		switch {
		case i > 0 && doc.Body != nil:
			f.fail(doc.Body, "", "a second YAML document; only one is allowed")
		case doc.Body == nil:
		default:
			f.section(doc.Body, "")
		}
	}
	return pointOut(f.errs, text)
}

// The marks of a file that is to be refused when it is cut off: its first line, which need not
// be there, and its last. To YAML they are comments.
const (
	endRequired = "# end required"
	fileEnd     = "# end"
)

// checkEnd notes whether the file says that it is whole, and refuses one that was to say so.
func (c *Config) checkEnd(name, text string) *Error {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	first := strings.TrimSpace(lines[0])
	c.fileEnds = strings.TrimSpace(lines[len(lines)-1]) == fileEnd
	cut := first == endRequired && !c.fileEnds
	if len(lines) == 1 && first != "" {
		cut = strings.HasPrefix(endRequired, first)
	}
	if !cut {
		return nil
	}
	return &Error{Origin: Origin{Name: name, Line: len(lines)}, Text: fmt.Sprintf("the last line is not %q, which the first requires: the rest may be missing", fileEnd)}
}

func readText(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, errors.Unwrap(err) // the cause alone: the name is said already
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, fileBytesMax+1))
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	if len(text) > fileBytesMax {
		return nil, fmt.Errorf("is longer than the %d bytes that are allowed", fileBytesMax)
	}
	return text, nil
}

func syntaxError(name string, err error) *Error {
	var at yaml.Error
	if errors.As(err, &at) && at.GetToken() != nil {
		return &Error{Origin: Origin{Name: name, Line: at.GetToken().Position.Line}, Text: "not valid YAML: " + at.GetMessage()}
	}
	return &Error{Origin: Origin{Name: name}, Text: "not valid YAML: " + err.Error()}
}

// fileReader walks the tree of one file.
type fileReader struct {
	config *Config
	name   string
	errs   Errors
	// expands: ${NAME} stands for one of variables.
	expands   bool
	variables []string
}

func (f *fileReader) at(n ast.Node) Origin {
	return Origin{Name: f.name, Line: n.GetToken().Position.Line}
}

func (f *fileReader) fail(n ast.Node, path, text string, args ...any) {
	f.errs = append(f.errs, &Error{Origin: f.at(n), Key: path, Text: fmt.Sprintf(text, args...)})
}

// section reads a mapping whose keys begin with path.
func (f *fileReader) section(n ast.Node, path string) {
	entries, ok := entriesOf(n)
	if !ok {
		f.fail(n, path, "must hold keys (%s), not a value", strings.Join(childrenOf(path), ", "))
	}
	for _, entry := range entries {
		f.entry(entry, path)
	}
}

// entriesOf returns what a mapping holds; ok is false for what is none.
func entriesOf(n ast.Node) (entries []*ast.MappingValueNode, ok bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	case *ast.NullNode: // every key of the section commented out
		return nil, true
	}
	return nil, false
}

func (f *fileReader) entry(entry *ast.MappingValueNode, path string) {
	name, ok := entry.Key.(*ast.StringNode)
	if !ok {
		f.fail(entry.Key, path, "%s is not a key; one of %s is expected", entry.Key.GetToken().Value, strings.Join(childrenOf(path), ", "))
		return
	}
	if path != "" {
		path += "."
	}
	path += name.Value
	switch {
	case isWithoutEffect(path):
		f.refuseSection(entry.Key, entry.Value, path)
	case keyOf(path) != nil:
		f.value(entry.Value, keyOf(path))
	case isSection(path):
		f.section(entry.Value, path)
	default:
		f.fail(entry.Key, path, "%s", unknownKey(path))
	}
}

// refuseSection names every key below path.
func (f *fileReader) refuseSection(key, value ast.Node, path string) {
	if entries, ok := value.(*ast.MappingNode); ok && len(entries.Values) > 0 {
		for _, entry := range entries.Values {
			f.refuseSection(entry.Key, entry.Value, path+"."+entry.Key.GetToken().Value)
		}
		return
	}
	f.fail(key, path, NoCluster)
}

func (f *fileReader) value(n ast.Node, k *key) {
	if k.path == listenersPath {
		faults := len(f.errs)
		if entries := f.listeners(n); len(f.errs) == faults {
			f.config.takeListeners(entries, f.at(n))
		}
		return
	}
	if text, expanded, ok := f.read(n, k.kind, k.path); ok {
		f.errs = append(f.errs, f.config.setValue(k, text, expanded, f.at(n))...)
	}
}

// read returns the text of a value, and what it stands for; ok is false if it is not written as
// its kind is.
func (f *fileReader) read(n ast.Node, k kind, path string) (text, expanded string, ok bool) {
	text, written, ok := scalarOf(n)
	if list, isList := n.(*ast.SequenceNode); isList && isListed(k) {
		if text, ok = joined(list); ok {
			written = stringScalar.String()
		} else {
			written = "a list that has something else than strings in it"
		}
	}
	switch n.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		if isBare(k) {
			return n.GetToken().Value, n.GetToken().Value, true
		}
	}
	if !ok {
		f.fail(n, path, "is %s; it must be %s", written, k.allowed())
		return "", "", false
	}
	if f.expands && written == stringScalar.String() && hasReference(text) {
		expanded, err := expand(text, f.variables)
		if err != nil {
			f.fail(n, path, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
			return "", "", false
		}
		return text, expanded, true
	}
	if want := k.scalar().String(); written != want {
		f.fail(n, path, "%s is %s; it must be %s", n.GetToken().Value, written, k.allowed())
		return "", "", false
	}
	return text, text, true
}

// writtenAs says what YAML takes a value for.
func writtenAs(n ast.Node) string {
	_, written, _ := scalarOf(n)
	return written
}

// joined returns the texts of a list with commas between them; ok is false if it
// holds anything else.
func joined(list *ast.SequenceNode) (text string, ok bool) {
	texts := make([]string, len(list.Values))
	for i, n := range list.Values {
		item, written, ok := scalarOf(n)
		if !ok || written != stringScalar.String() {
			return "", false
		}
		texts[i] = item
	}
	return strings.Join(texts, ","), true
}

// scalarOf returns a node's text and what YAML takes it for; ok is false for
// what is not the value of any key.
func scalarOf(n ast.Node) (text, written string, ok bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, stringScalar.String(), true
	case *ast.LiteralNode:
		return n.Value.Value, stringScalar.String(), true
	case *ast.IntegerNode:
		return n.GetToken().Value, integerScalar.String(), true
	case *ast.BoolNode:
		return strings.ToLower(n.GetToken().Value), booleanScalar.String(), true
	case *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "", "a number with a fraction", false
	case *ast.NullNode:
		return "", `without a value (an empty one is written "")`, false
	case *ast.MappingNode, *ast.MappingValueNode:
		return "", "a mapping", false
	case *ast.SequenceNode:
		return "", "a list", false
	}
	return "", "an anchor, alias or tag", false
}
