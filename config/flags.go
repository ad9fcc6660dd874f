package config

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"
)

// Flags are the settings given on a command line, one flag per key.
type Flags struct {
	kong.Plugins // one struct, made from the table, with a field per key
}

// NewFlags returns flags to embed by value in a kong command.
func NewFlags() Flags {
	fields := make([]reflect.StructField, len(keys))
	for i := range keys {
		k := &keys[i]
		fields[i] = reflect.StructField{
			Name: fmt.Sprintf("Key%d", i),
			Type: reflect.TypeFor[flagText](),
			Tag: reflect.StructTag(fmt.Sprintf("name:%q group:%q placeholder:%q help:%q",
				k.flag(), section(k.path), placeholder(k), flagHelp(k))),
		}
		if k.kind.scalar() == booleanScalar {
			fields[i].Type = reflect.TypeFor[flagSwitch]()
		}
	}
	return Flags{kong.Plugins{reflect.New(reflect.StructOf(fields)).Interface()}}
}

func section(path string) string {
	name, _, _ := strings.Cut(path, ".")
	return name
}

func placeholder(k *key) string {
	if s := k.kind.scalar(); s == stringScalar || s == listScalar {
		return strings.ToUpper(k.path[strings.LastIndexByte(k.path, '.')+1:])
	}
	return "N"
}

func flagHelp(k *key) string {
	text := Default().text(k)
	if text == "" {
		text = `""`
	}
	if text == "true" {
		text += "; =false for the opposite"
	}
	return escaped(fmt.Sprintf("%s Default %s ($%s).", k.help, text, k.variable())) // kong replaces ${NAME} too
}

// readFlags takes over the flags that were given.
func (c *Config) readFlags(f *Flags) Errors {
	var errs Errors
	for i := range keys {
		text, given := f.given(i)
		if !given {
			continue
		}
		errs = append(errs, c.set(&keys[i], text, Origin{Name: "--" + keys[i].flag()})...)
	}
	return errs
}

func (f *Flags) given(i int) (text string, given bool) {
	fields := reflect.ValueOf(f.Plugins[0]).Elem()
	switch v := fields.Field(i).Interface().(type) {
	case flagText:
		return v.text, v.given
	case flagSwitch:
		return v.text, v.given
	}
	return "", false
}

// flagText keeps a flag's value as it was written; set checks it like the
// values of the file.
type flagText struct {
	text  string
	given bool
}

// Decode implements kong.MapperValue.
func (f *flagText) Decode(ctx *kong.DecodeContext) error {
	f.given = true
	return ctx.Scan.PopValueInto("value", &f.text)
}

// flagSwitch is a flag that may stand alone: --name means --name=true.
type flagSwitch struct{ flagText }

// Decode implements kong.MapperValue.
func (f *flagSwitch) Decode(ctx *kong.DecodeContext) error {
	if ctx.Scan.Peek().Type == kong.FlagValueToken {
		return f.flagText.Decode(ctx)
	}
	f.given, f.text = true, "true"
	return nil
}

// IsBool implements kong.BoolMapperValue.
func (f *flagSwitch) IsBool() bool { return true }
