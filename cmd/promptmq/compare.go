package main

import (
	"os"
	"os/exec"

	"github.com/x0a1b/promptmq/broker/login"
)

// comparePasswordsCommand is what the server runs to compare passwords: see login.Apart.
type comparePasswordsCommand struct{}

// Run implements the command.
func (comparePasswordsCommand) Run() error { return login.ComparePasswords(os.Stdin, os.Stdout) }

// compareCommand is this program, comparing passwords. It has no environment, which may have
// secrets, and signals to the group of the server's process are not for it.
func compareCommand() *exec.Cmd {
	cmd := exec.Command(ownProgram(), "compare-passwords")
	cmd.Env = []string{}
	ownGroup(cmd)
	return cmd
}

// ownProgram is the file of this program, on Linux even after another has taken its place.
func ownProgram() string {
	const running = "/proc/self/exe"
	if _, err := os.Stat(running); err == nil {
		return running
	}
	if path, err := os.Executable(); err == nil {
		return path
	}
	return os.Args[0]
}
