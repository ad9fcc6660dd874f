package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/x0a1b/promptmq/config"
	"github.com/x0a1b/promptmq/terminal"
)

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// completions have for each shell what makes it ask the hidden command complete, which gets the
// words behind the name of the program, the last of them not yet whole, and answers with
// lines of a word, a tab and a few words about it. Without any the shell offers files.
var completions = map[string]string{
	"bash": `# bash completion for promptmq: eval "$(promptmq completion bash)"
_promptmq() {
	local word about
	COMPREPLY=()
	while IFS=$'\t' read -r word about; do
		COMPREPLY+=("$word")
	done < <("${COMP_WORDS[0]}" complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _promptmq promptmq
`,
	"zsh": `#compdef promptmq
# zsh completion for promptmq: eval "$(promptmq completion zsh)", after compinit
_promptmq() {
	local word about
	local -a found
	while IFS=$'\t' read -r word about; do
		found+=("${word//:/\\:}:$about")
	done < <("${words[1]}" complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)
	if (( $#found )); then
		_describe promptmq found
	else
		_files
	fi
}
compdef _promptmq promptmq
`,
	"fish": `# fish completion for promptmq: promptmq completion fish | source
function __promptmq_complete
	set -l words (commandline -opc) (commandline -ct)
	$words[1] complete -- $words[2..] 2>/dev/null
end
complete -c promptmq -f -n 'count (__promptmq_complete) >/dev/null' -a '(__promptmq_complete)'
`,
}

// Run implements the command.
func (c *completionCommand) Run() error {
	_, err := fmt.Print(completions[c.Shell])
	return err
}

// A completeCommand answers a shell.
type completeCommand struct {
	Words []string `arg:"" optional:"" passthrough:""`
}

// Run implements the command.
func (c *completeCommand) Run(parsed *kong.Context) error {
	words := c.Words
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	var out bytes.Buffer
	for _, w := range complete(parsed.Model.Node, words) {
		fmt.Fprintf(&out, "%s\t%s\n", w.text, w.about)
	}
	_, err := os.Stdout.Write(out.Bytes())
	return err
}

// A candidate is a word that may come next.
type candidate struct{ text, about string }

// complete returns what the last of words may become.
func complete(at *kong.Node, words []string) []candidate {
	words = slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "=" }) // bash parts words there
	if len(words) == 0 {
		words = []string{""}
	}
	var awaited *kong.Value // the value of a flag
	positions := 0
	last := len(words) - 1
	for _, w := range words[:last] {
		switch {
		case awaited != nil:
			awaited = nil
		case strings.HasPrefix(w, "-"):
			awaited = valueOf(at, w)
		default:
			if child := childOf(at, w); child != nil {
				at = child
			} else {
				positions++
			}
		}
	}
	return beginning(words[last], nextWords(at, awaited, positions, words[last]))
}

// nextWords are all that may stand there.
func nextWords(at *kong.Node, awaited *kong.Value, positions int, begun string) (found []candidate) {
	switch flag, _, assigned := strings.Cut(begun, "="); {
	case awaited != nil:
		return values(awaited, "")
	case strings.HasPrefix(begun, "-") && assigned:
		if v := valueOf(at, flag); v != nil {
			return values(v, flag+"=")
		}
	case strings.HasPrefix(begun, "-"):
		for _, f := range flagsOf(at) {
			found = append(found, candidate{"--" + f.Name, about(f.Help)})
		}
	default:
		for _, child := range at.Children {
			if !child.Hidden {
				found = append(found, candidate{child.Name, about(child.Help)})
			}
		}
		if positions < len(at.Positional) {
			found = append(found, values(at.Positional[positions], "")...)
			if of := argumentsOf[at.FullPath()]; of != nil && positions == 0 {
				found = append(found, of()...)
			}
		}
	}
	return found
}

// argumentsOf are what the first argument of a command may be, where no list in its tags says it.
var argumentsOf = map[string]func() []candidate{
	"promptmq log level": func() []candidate {
		found := []candidate{{"configured", "That of log.level again"}}
		for _, name := range config.LevelNames() {
			found = append(found, candidate{name, ""})
		}
		return found
	},
	"promptmq config explain": func() (found []candidate) {
		all, _ := config.Explain("") // which finds all
		for _, s := range all {
			found = append(found, candidate{s.Key, about(s.Help)})
		}
		return found
	},
}

func beginning(with string, all []candidate) (found []candidate) {
	for _, c := range all {
		if strings.HasPrefix(c.text, with) {
			found = append(found, c)
		}
	}
	return found
}

func childOf(at *kong.Node, name string) *kong.Node {
	for _, child := range at.Children {
		if child.Name == name || slices.Contains(child.Aliases, name) {
			return child
		}
	}
	return nil
}

func flagsOf(at *kong.Node) (flags []*kong.Flag) {
	for _, group := range at.AllFlags(true) {
		flags = append(flags, group...)
	}
	return flags
}

// valueOf returns what stands behind a flag, nil if nothing does, or if it stands in the same
// word.
func valueOf(at *kong.Node, flag string) *kong.Value {
	for _, f := range flagsOf(at) {
		if "--"+f.Name == flag && !f.IsBool() && !f.IsCounter() {
			return f.Value
		}
	}
	return nil
}

// values are those of a flag or argument that takes one of a few.
func values(v *kong.Value, before string) (found []candidate) {
	if v.Enum == "" {
		return nil
	}
	for _, value := range v.EnumSlice() {
		found = append(found, candidate{before + value, ""})
	}
	return found
}

// about is the first sentence of a help, on one line.
func about(help string) string {
	first, _, _ := strings.Cut(help, ". ")
	return terminal.Escape(strings.TrimSuffix(first, "."))
}
