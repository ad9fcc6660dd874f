package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/x0a1b/promptmq/config"
)

type devCommand struct {
	settings
	Browser bool `default:"true" negatable:"" help:"Open the page in a browser, where there is a display."`
}

// devTokens is the file of the token for the page, in the data directory.
const devTokens = "dev.tokens"

// devAddresses are where a broker for development listens if nothing else is said, and the port
// is free.
var devAddresses = []struct{ key, address string }{
	{"server.bind", "127.0.0.1:1883"}, {"server.ws-bind", "127.0.0.1:8080"}, {"metrics.bind", "127.0.0.1:9090"}, {"admin.bind", pageAddress},
}

// Run implements the command.
func (c *devCommand) Run() error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	given := func(key, value string) {
		if !cfg.Given(key) {
			c.environ = append(c.environ, config.Variable(key)+"="+value)
		}
	}
	given("log.level", "debug")
	given("log.format", "console")
	dir := config.Absolute(cfg.Store.DataDir)
	if !cfg.Given("storage.data-dir") {
		if dir, err = os.MkdirTemp("", "promptmq-dev-"); err != nil { // with mode 0700
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		given("storage.data-dir", dir)
	}
	for _, a := range devAddresses {
		address, err := ownAddress(a.address)
		if err != nil {
			return err
		}
		if address != a.address && !cfg.Given(a.key) {
			fmt.Printf("%s is taken: %s is %s\n", a.address, a.key, address)
		}
		given(a.key, address)
	}
	token := "of " + cfg.Admin.TokensFile
	if !cfg.Given("admin.tokens-file") {
		file := filepath.Join(dir, devTokens)
		if token, err = devToken(file); err != nil {
			return err
		}
		given("admin.tokens-file", file)
	}
	if cfg, err = c.load(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if cfg.Admin.Bind != "" {
		c.page(ctx, cfg, token)
	}
	return (&serverCommand{settings: c.settings, alone: true}).Run()
}

// ownAddress is an address of this machine, or the same with a port that is free.
func ownAddress(address string) (string, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return "", err
		}
	}
	return l.Addr().String(), l.Close()
}

// devToken returns the token of a file, which is made if there is none.
func devToken(file string) (string, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		text = []byte("admin:" + rand.Text())
		if err = os.MkdirAll(filepath.Dir(file), 0o700); err == nil {
			err = writeWhole(file, append(text, '\n'), 0o600)
		}
	}
	return strings.TrimPrefix(strings.TrimSpace(string(text)), "admin:"), err
}

// page says where the page is, and opens it when it is there, until ctx ends.
func (c *devCommand) page(ctx context.Context, cfg *config.Config, token string) {
	scheme := "http"
	if cfg.Admin.TLSCert != "" {
		scheme = "https"
	}
	url := scheme + "://" + cfg.Admin.Bind + "/"
	data := config.Absolute(cfg.Store.DataDir)
	fmt.Printf("the page: %s, sign in with the token %s\nthe data: %s\nbeside it: promptmq status --data-dir %s\n", url, token, data, shellWord(data))
	open := browser(url)
	if !c.Browser || open == nil {
		return
	}
	go func() {
		for ctx.Err() == nil {
			if conn, err := net.DialTimeout("tcp", cfg.Admin.Bind, time.Second); err == nil {
				_ = conn.Close() // nothing was said
				if err := open.Run(); err != nil {
					fmt.Printf("no browser was opened: %v\n", err)
				}
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
}

// browser is what opens a URL; nil: nobody would see it. The token is not in it: others can see
// the arguments of a process.
func browser(url string) *exec.Cmd {
	switch {
	case runtime.GOOS == "darwin":
		return exec.Command("open", url)
	case runtime.GOOS == "windows":
		return exec.Command("rundll32", "url.dll,FileProtocolHandler", url)
	case os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != "":
		return exec.Command("xdg-open", url)
	}
	return nil
}
