package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/x0a1b/promptmq/config"
)

// The tests of this file and of pages_run_test.go try what the pages say. The first word
// behind the fence of a block says what it is, those that follow what is done with it:
//
//	sh              commands: they are run as they stand, in order, in a directory of the page
//	sh TestNAME     commands that this test runs
//	console WHY     commands that no clean machine can run, and why; those of ours are parsed
//	text output     what the commands before it print, loosely
//	text            something else: a log line, a rule, a picture
//	yaml            a configuration of the broker: it is checked
//	yaml WHOSE      one of another program, or a part: it is parsed
//	json            JSON: each line, or all of it
//	go, python      programs: they are compiled
//	http            requests of the API, which TestAPIDocs makes
//	others          ini, nginx, haproxy, js …: files of other programs, shown

// shownOnly are what blocks may be that nothing is done with.
var shownOnly = []string{"text", "http", "sql", "ini", "nginx", "haproxy", "dockerfile", "js", "javascript", "html", "java", "c", "rust", "toml", "xml", "diff"}

// A block is what stands between two fences of a page.
type block struct {
	page string // without its directory
	line int    // of the first fence
	kind string
	mark string
	text string
}

func (b *block) String() string { return fmt.Sprintf("%s:%d", b.page, b.line) }

// readablePages are the Markdown files that users read.
func readablePages(t *testing.T) []string {
	t.Helper()
	pages, err := filepath.Glob(root + "/docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"README.md", "CONTRIBUTING.md", "SECURITY.md"} {
		if _, err := os.Stat(filepath.Join(root, name)); err == nil {
			pages = append(pages, filepath.Join(root, name))
		}
	}
	return pages
}

var commandInText = regexp.MustCompile(`^ {4,}(\$ )?promptmq `)

// blocksOf returns the blocks of a page, and the text beside them, line by line.
func blocksOf(t *testing.T, path string) (blocks []block, beside []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var open *block
	indent := ""
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		bare := strings.TrimLeft(line, " ")
		fence, isFence := strings.CutPrefix(bare, "```")
		switch {
		case isFence && open == nil:
			kind, mark, _ := strings.Cut(strings.TrimSpace(fence), " ")
			open, indent = &block{page: filepath.Base(path), line: n, kind: kind, mark: mark}, line[:len(line)-len(bare)]
		case isFence:
			blocks, open = append(blocks, *open), nil
		case open != nil:
			open.text += strings.TrimPrefix(line, indent)
		case commandInText.MatchString(line):
			t.Errorf("%s:%d: a command stands between fences, not behind spaces", filepath.Base(path), n)
		default:
			beside = append(beside, line)
		}
	}
	if open != nil {
		t.Errorf("%s: the block is not closed", open)
	}
	return blocks, beside
}

// TestPageBlocks: each block of each page says what it is, and is that.
func TestPageBlocks(t *testing.T) {
	unraced(t)
	t.Parallel()
	tests := testNames(t)
	dir := t.TempDir()
	var python, golang []string
	for _, page := range readablePages(t) {
		blocks, beside := blocksOf(t, page)
		for i, b := range blocks {
			program := filepath.Join(dir, fmt.Sprintf("%s-%d.%s", b.page, b.line, b.kind))
			switch {
			case b.kind == "text" && b.mark == "output" && (i == 0 || blocks[i-1].kind != "sh"):
				t.Errorf("%s: output of what? There are no commands before it", &b)
			case strings.HasPrefix(b.mark, "Test") && !slices.Contains(tests, b.mark):
				t.Errorf("%s: there is no test %s", &b, b.mark)
			case strings.HasPrefix(b.mark, "Test"), slices.Contains(shownOnly, b.kind): // done there, nothing to do
			case b.kind == "sh" && b.mark == "": // TestPages
			case b.kind == "console" && b.mark != "":
				t.Logf("%s is not run: %s", &b, b.mark)
			case b.kind == "yaml":
				b.checkYAML(t)
			case b.kind == "json":
				b.checkJSON(t)
			case b.kind == "python", b.kind == "go":
				if err := os.WriteFile(program, []byte(b.text), 0o600); err != nil {
					t.Fatal(err)
				}
				if b.kind == "go" {
					golang = append(golang, program)
				} else {
					python = append(python, program)
				}
			default:
				t.Errorf("%s: a block begins with ```%s %s: say sh, console WHY, text, yaml, json or another kind", &b, b.kind, b.mark)
			}
			if b.kind == "sh" || b.kind == "console" || b.kind == "text" {
				for _, command := range commandsIn(b.text) {
					parseCommand(t, b.String(), command, wrongCommand)
				}
			}
		}
		for _, command := range commandsInline(strings.Join(beside, "")) {
			parseCommand(t, filepath.Base(page), command, wrongWords)
		}
	}
	compile(t, golang, python)
}

// testNames are those of this package, and of what only runs outside too.
func testNames(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(text), -1) {
			names = append(names, m[1])
		}
	}
	return names
}

var variableInYAML = regexp.MustCompile(`\$\{(\w+)\}`)

func (b *block) checkYAML(t *testing.T) {
	t.Helper()
	if b.mark != "" {
		var any any
		if err := yaml.Unmarshal([]byte(b.text), &any); err != nil {
			t.Errorf("%s: %v", b, err)
		}
		return
	}
	file := filepath.Join(t.TempDir(), "promptmq.yaml")
	if err := os.WriteFile(file, []byte(b.text), 0o600); err != nil {
		t.Fatal(err)
	}
	var variables []string
	for _, m := range variableInYAML.FindAllStringSubmatch(b.text, -1) {
		variables = append(variables, m[1]+"=127.0.0.1")
	}
	if _, err := config.Load(config.Sources{File: file, Variables: variables}); err != nil {
		t.Errorf("%s: %v", b, err)
	}
}

func (b *block) checkJSON(t *testing.T) {
	t.Helper()
	if json.Valid([]byte(b.text)) {
		return
	}
	for line := range strings.Lines(b.text) {
		if !json.Valid([]byte(line)) {
			t.Errorf("%s: no JSON: %s", b, line)
		}
	}
}

// compile has Go and Python look at programs.
func compile(t *testing.T, golang, python []string) {
	t.Helper()
	for _, file := range golang {
		if out, err := exec.CommandContext(t.Context(), "go", "vet", file).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", filepath.Base(file), err, out)
		}
	}
	if _, err := exec.LookPath("python3"); err != nil || len(python) == 0 {
		return
	}
	const program = "import sys\nfor name in sys.argv[1:]: compile(open(name, encoding='utf-8').read(), name, 'exec')"
	if out, err := exec.CommandContext(t.Context(), "python3", append([]string{"-c", program}, python...)...).CombinedOutput(); err != nil {
		t.Errorf("python3: %v\n%s", err, out)
	}
}

// commandsIn returns our commands among those of a shell, as they are called.
func commandsIn(text string) (commands [][]string) {
	for _, command := range shellCommands(text) {
		for len(command) > 0 && (slices.Contains([]string{"$", "sudo", "exec", "time", "if", "then", "!"}, command[0]) || assignment.MatchString(command[0])) {
			command = command[1:]
		}
		switch {
		case len(command) > 3 && slices.Equal(command[:3], []string{"go", "run", "./cmd/promptmq"}):
			commands = append(commands, command[3:])
		case len(command) > 1 && filepath.Base(command[0]) == "promptmq" && !strings.HasSuffix(command[0], ":promptmq"):
			commands = append(commands, command[1:])
		}
	}
	return commands
}

var assignment = regexp.MustCompile(`^\w+=`)

// shellCommands parts a text as a shell does, as far as commands in a page need it. What a
// shell would put in place of something stays as it is.
func shellCommands(text string) (commands [][]string) {
	var command []string
	var word strings.Builder
	begun, ended := false, false // a word; the command, by a redirection
	endWord := func() {
		if begun && !ended {
			command = append(command, word.String())
		}
		word.Reset()
		begun = false
	}
	endCommand := func() {
		endWord()
		if len(command) > 0 {
			commands = append(commands, command)
		}
		command, ended = nil, false
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text):
			if i++; text[i] != '\n' {
				begun = true
				word.WriteByte(text[i])
			}
		case c == '\'' || c == '"':
			begun = true
			for i++; i < len(text) && text[i] != c; i++ {
				if text[i] == '\\' && c == '"' && i+1 < len(text) {
					i++
				}
				word.WriteByte(text[i])
			}
		case c == '$' && strings.HasPrefix(text[i:], "$("):
			end := max(strings.IndexByte(text[i:], ')'), 1)
			begun = true
			word.WriteString(text[i : i+end+1])
			commands = append(commands, shellCommands(text[i+2:i+end])...)
			i += end
		case c == '#' && !begun:
			end := strings.IndexByte(text[i:]+"\n", '\n')
			i += end - 1
		case c == '\n' || c == ';' || c == '|' || c == '&' || c == '(' || c == ')' || c == '`':
			endCommand()
		case c == '<' || c == '>':
			endWord()
			ended = true
		case c == ' ' || c == '\t':
			endWord()
		default:
			begun = true
			word.WriteByte(c)
		}
	}
	endCommand()
	return commands
}

var inlineCode = regexp.MustCompile("`(promptmq [^`]+)`")

// commandsInline returns commands that stand in a sentence, but for those that show what may
// be said: with brackets, or the name of something in capitals.
func commandsInline(text string) (commands [][]string) {
	for _, m := range inlineCode.FindAllStringSubmatch(text, -1) {
		if !strings.ContainsAny(m[1], "[]<>{}…|") && !strings.Contains(m[1], "...") && strings.ToLower(m[1]) == m[1] {
			commands = append(commands, commandsIn(m[1])...)
		}
	}
	return commands
}

// What the parser says of a command that is wrong as it stands, whatever a shell puts in it;
// and of one in a sentence, where arguments may be left out.
var (
	wrongCommand = regexp.MustCompile(`unknown flag|unexpected argument|expected (one of|")|missing`)
	wrongWords   = regexp.MustCompile(`unknown flag|unexpected argument`)
)

// parseCommand has our own command line parse a command, which is not run.
func parseCommand(t *testing.T, where string, args []string, wrong *regexp.Regexp) {
	t.Helper()
	args = slices.Clone(args)
	for i, arg := range args {
		args[i] = strings.Trim(arg, "[]") // what may be left out
		if strings.HasPrefix(arg, "$") {
			args[i] = "1" // which a number may be, and a text
		}
	}
	parser := newParser()
	parser.Stdout, parser.Stderr, parser.Exit = io.Discard, io.Discard, func(int) { panic(parser) }
	var err error
	func() {
		defer func() {
			if fault := recover(); fault != nil && fault != any(parser) { // --help exits
				panic(fault)
			}
		}()
		hostFlag(parser, args)
		_, err = parser.Parse(wordsMeant(args))
	}()
	if err != nil && wrong.MatchString(err.Error()) {
		t.Errorf("%s: promptmq %s: %v", where, strings.Join(args, " "), err)
	}
}
