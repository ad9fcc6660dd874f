package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// terminals stands in a page's commands for promptmq. What does not end by itself, a server or
// a subscriber, goes on in the background as in a terminal of its own, until the page ends, or
// for a server the next one begins; the password that a terminal would be asked for is given.
const terminals = `#!/bin/sh
follow() { # FILE TEXT: until the process has written the text
	until grep -q "$2" "$1"; do
		if ! kill -0 "$pid"; then cat "$1"; exit 1; fi
		sleep 0.02
	done
}
case " $* " in
*" --help "*) exec "$PROMPTMQ" "$@" ;;
" server "* | " dev "*)
	if [ -f "$PAGE/server" ]; then
		kill "$(cat "$PAGE/server")"
		until grep -q 'msg"*[:=]"*stopped' "$PAGE/server.log"; do sleep 0.02; done
	fi
	"$PROMPTMQ" "$@" >"$PAGE/server.log" 2>&1 </dev/null &
	pid=$!
	echo $pid | tee "$PAGE/server" >>"$PAGE/processes"
	follow "$PAGE/server.log" 'msg"*[:=]"*ready'
	;;
" sub "*" -C "* | " sub "*" -W "* | " sub "*" -E "*) exec "$PROMPTMQ" "$@" ;;
" sub "*)
	"$PROMPTMQ" "$@" -d 2>"$PAGE/sub.log" </dev/null &
	pid=$!
	echo $pid >>"$PAGE/processes"
	follow "$PAGE/sub.log" 'received SUBACK'
	;;
" status "*) "$PROMPTMQ" "$@" || [ $? = 3 ] ;; # a slow disk may need attention
*" --password-"*) exec "$PROMPTMQ" "$@" ;;
" user add "* | " user passwd "*) echo 'correct horse' | "$PROMPTMQ" "$@" --password-stdin ;;
*) exec "$PROMPTMQ" "$@" ;;
esac
`

// TestPages runs the commands of each page as they stand: a page is a story, with a directory
// and a home of its own, and a network of its own where the system allows it.
func TestPages(t *testing.T) {
	unraced(t)
	t.Parallel()
	for _, path := range readablePages(t) {
		blocks, _ := blocksOf(t, path)
		var commands []block
		for i, b := range blocks {
			if b.mark == "" && b.kind == "sh" {
				commands = append(commands, b)
				if i+1 < len(blocks) && blocks[i+1].kind == "text" && blocks[i+1].mark == "output" {
					commands = append(commands, blocks[i+1])
				}
			}
		}
		if len(commands) > 0 {
			t.Run(filepath.Base(path), func(t *testing.T) {
				t.Parallel()
				if err := runPage(t, commands, startSeconds*time.Second); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestPagesControl: a command that fails, and output that is another, are found.
func TestPagesControl(t *testing.T) {
	unraced(t)
	t.Parallel()
	for _, blocks := range [][]block{
		{{kind: "sh", text: "false\ntrue\n"}},
		{{kind: "sh", text: "promptmq pub -t a\n"}},
		{{kind: "sh", text: "echo a 1\necho b\n"}, {kind: "text", text: "b\na 2\n"}},
	} {
		if err := runPage(t, blocks, time.Millisecond); err == nil {
			t.Errorf("%v is well", blocks)
		}
	}
	if err := runPage(t, []block{{kind: "sh", text: "echo a 1\necho b\n"}, {kind: "text", text: "a 2\n…\n"}}, time.Millisecond); err != nil {
		t.Error(err)
	}
}

// runPage runs the commands among blocks, and waits for the output that is among them.
func runPage(t *testing.T, blocks []block, patience time.Duration) error {
	t.Helper()
	running, all, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &pageRun{t: t, dir: t.TempDir(), running: running, all: all}
	p.write("bin/promptmq", terminals, 0o700)
	for _, d := range []string{"home", "work"} {
		if err := os.MkdirAll(filepath.Join(p.dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"examples", "deploy"} { // pages are read in a clone
		from, err := filepath.Abs(filepath.Join(root, name))
		if err == nil {
			err = os.CopyFS(filepath.Join(p.dir, "work", name), os.DirFS(from))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	script := "cd \"$PAGE/work\"\n"
	for i, b := range blocks {
		if b.kind == "sh" {
			p.write(fmt.Sprintf("block%d", i), b.text, 0o600)
			script += fmt.Sprintf("(set -eu; . \"$PAGE/block%d\") >\"$PAGE/out%d\" 2>&1; code=$?; echo $code >\"$PAGE/code%d\"; [ $code = 0 ] || exit 1\n", i, i, i)
		}
	}
	p.write("page.sh", script, 0o600)
	defer p.end()
	p.run()
	return p.check(blocks, patience)
}

// A pageRun is the directory in which the commands of a page run.
type pageRun struct {
	t            *testing.T
	dir          string
	running, all *os.File // a pipe of which each process has the writing end, all
	shares       bool     // it has sharedNetwork, until its processes have ended
}

func (p *pageRun) write(name, text string, mode fs.FileMode) {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), mode))
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *pageRun) read(name string) string {
	text, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.t.Fatal(err)
	}
	return string(text)
}

// defaultPorts are those on which pages have brokers listen. Where there can be no network
// for a page alone, one page runs at a time, and none if another process has one of them.
var (
	defaultPorts  = []string{"1883", "1884", "8080", "8883", "9090", "9092"}
	sharedNetwork sync.Mutex
)

func (p *pageRun) command() *exec.Cmd {
	cmd := exec.CommandContext(p.t.Context(), "/bin/sh", filepath.Join(p.dir, "page.sh"))
	cmd.Env = environ("PAGE="+p.dir, "PROMPTMQ="+binary, "HOME="+filepath.Join(p.dir, "home"), "PATH="+filepath.Join(p.dir, "bin")+":"+os.Getenv("PATH"))
	cmd.ExtraFiles = []*os.File{p.all}
	return cmd
}

func (p *pageRun) run() {
	p.t.Helper()
	cmd := p.command()
	err := runAlone(cmd)
	if errors.Is(err, errNoNamespace) {
		sharedNetwork.Lock()
		p.shares = true
		for _, port := range defaultPorts {
			l, err := net.Listen("tcp", ":"+port)
			if err != nil {
				p.t.Skipf("no network of its own for this page, and port %s is taken: %v", port, err)
			}
			_ = l.Close()
		}
		err = p.command().Run()
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
}

// check looks how each block ended, and for the output that the page shows.
func (p *pageRun) check(blocks []block, patience time.Duration) error {
	p.t.Helper()
	all := func(upTo int) (out string) { // of subscribers too, which began before
		for i := range upTo {
			out += p.read("out" + strconv.Itoa(i))
		}
		return out
	}
	for i, b := range blocks {
		if b.kind == "sh" {
			if code := strings.TrimSpace(p.read("code" + strconv.Itoa(i))); code != "0" {
				return fmt.Errorf("%s: exit code %s:\n%s\n%s\nlog of the broker:\n%s", &b, cmp.Or(code, "none"), b.text, p.read("out"+strconv.Itoa(i)), p.read("server.log"))
			}
			continue
		}
		deadline := time.Now().Add(patience)
		for !hasLines(all(i), b.text) {
			if time.Now().After(deadline) {
				return fmt.Errorf("%s: the page shows\n%sbut there was\n%s", &b, b.text, all(i))
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}

var (
	numberInOutput = regexp.MustCompile(`[0-9]+`)
	spacesInOutput = regexp.MustCompile(`\s+`)
)

// hasLines reports whether out has the lines of a sample in that order. A number stands for any,
// an ellipsis for anything.
func hasLines(out, sample string) bool {
	var pattern strings.Builder
	for line := range strings.Lines(sample) {
		line = regexp.QuoteMeta(strings.TrimSpace(line))
		line = strings.ReplaceAll(strings.ReplaceAll(line, "…", ".*"), `\.\.\.`, ".*")
		line = numberInOutput.ReplaceAllString(line, "[0-9]+")
		pattern.WriteString(`(?s:.*)(?m:^\s*` + spacesInOutput.ReplaceAllString(line, `\s+`) + `\s*$)`)
	}
	return regexp.MustCompile(pattern.String()).MatchString(out)
}

// end ends what the page has left running.
func (p *pageRun) end() {
	if p.shares {
		defer sharedNetwork.Unlock()
	}
	defer p.running.Close()
	err := errors.Join(p.all.Close(), p.running.SetReadDeadline(time.Now().Add(stopSeconds*time.Second)))
	for _, line := range strings.Fields(p.read("processes")) {
		pid, notNumber := strconv.Atoi(line)
		left, notFound := os.FindProcess(pid)
		err = errors.Join(err, notNumber, notFound)
		if notNumber == nil && notFound == nil {
			_ = left.Signal(syscall.SIGTERM) // fails for what has ended
		}
	}
	if _, ended := io.ReadAll(p.running); err != nil || ended != nil {
		p.t.Errorf("the processes of the page: %v; their end: %v", err, ended)
	}
}
