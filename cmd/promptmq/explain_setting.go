package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/config"
)

type explainCommand struct {
	Key  string `arg:"" optional:"" help:"Path in the file, flag or variable; of a section the keys in it are listed. None: all."`
	JSON bool   `name:"json" help:"As a list for programs."`
}

// Run implements the command.
func (c *explainCommand) Run() error {
	found, err := config.Explain(c.Key)
	if err != nil {
		return config.Errors{{Origin: config.Origin{Name: "config explain"}, Text: err.Error()}}
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(found)
	}
	out := bufio.NewWriter(os.Stdout)
	if len(found) == 1 {
		writeSetting(out, &found[0])
	} else {
		writeSettingList(out, found)
	}
	return out.Flush()
}

// writeSetting writes all that there is to know of a key.
func writeSetting(out io.Writer, s *inspect.Setting) {
	fmt.Fprintf(out, "%s\n\n%s\n\n", s.Key, s.Help)
	value := s.Default
	if value == "" {
		value = strconv.Quote(value)
	}
	for _, row := range [][2]string{
		{"default", value}, {"unit", s.Unit}, {"allowed", s.Allowed}, {"listeners", strings.Join(s.Kinds, ", ")}, {"flag", s.Flag}, {"variable", s.Variable}, {"a change", config.ChangeText(s)},
	} {
		if row[1] != "" {
			fmt.Fprintf(out, "%-10s %s\n", row[0], row[1])
		}
	}
}

// writeSettingList writes a line for each key: its default, what a change needs, and what it is.
func writeSettingList(out io.Writer, list []inspect.Setting) {
	width := 0
	for _, s := range list {
		width = max(width, len(s.Key))
	}
	for _, s := range list {
		first, _, _ := strings.Cut(s.Help, ". ")
		fmt.Fprintf(out, "%-*s  %-8s %s\n", width, s.Key, s.Change, strings.TrimSuffix(first, ".")+".")
	}
}

// flagsAsWords returns a command line in which a flag that is to be explained is a word, and no flag
// of the command itself.
func flagsAsWords(args []string) []string {
	if len(args) < 2 || args[0] != "config" || args[1] != "explain" {
		return args
	}
	args = slices.Clone(args)
	for i, arg := range args {
		if name, isFlag := strings.CutPrefix(arg, "--"); isFlag && name != "" && name != "json" && name != "help" {
			args[i] = name
		}
	}
	return args
}
