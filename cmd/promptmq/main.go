// Command promptmq is an MQTT broker with SQLite as its store.
package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/config"
)

// Exit codes.
const (
	exitFailure = 1 // something failed while running
	exitUsage   = 2 // the command line or the configuration is wrong
	// exitAttention is that of status.
	exitAttention = 3
)

type commandLine struct {
	Server serverCommand `cmd:"" help:"Run the broker until SIGTERM or SIGINT."`
	Dev    devCommand    `cmd:"" help:"Run a broker for development: on this machine only, with a readable log, a page, and data that are gone at the end."`
	Init   initCommand   `cmd:"" help:"Make a configuration, a first user and a certificate: asks four questions and for the first user, or takes flags."`
	Config configCommand `cmd:"" help:"Check, print or explain a configuration."`
	Cert   certCommand   `cmd:"" help:"Make certificates for TLS."`
	User   userCommand   `cmd:"" aliases:"users" help:"Add, change and list the users, of a running broker or one that is stopped."`
	ACL    aclCommand    `cmd:"" name:"acl" help:"Add, remove and list the rules of who may do what, and explain them."`
	Ban    banCommand    `cmd:"" aliases:"bans" help:"List and lift the bans of addresses from which too many logins failed."`
	operateCommands

	Reload  reloadCommand  `cmd:"" help:"Have the running broker read its configuration again; exit with 2 if that is broken, and all stays as it was."`
	Doctor  doctorCommand  `cmd:"" help:"Look at this machine and a configuration, and say what is wrong and what to do; exit with 3 if something should be done, with 1 if the broker would not run well."`
	Health  healthCommand  `cmd:"" help:"Say whether a broker is ready, for the health check of a container or a script; exit with 1 and the reason if it is not."`
	Backup  backupCommand  `cmd:"" help:"Copy the store to a file, of a running broker or one that is stopped, and verify the copy."`
	Restore restoreCommand `cmd:"" help:"Put a backup in the data directory of a broker that is stopped."`
	Upgrade upgradeCommand `cmd:"" help:"Have the running broker hand its sockets and its data to a new process, without a connect that is refused; or check first what that would change."`
	Verify  verifyCommand  `cmd:"" help:"Look through a store or a backup for damage, and say what can be read; exit with 1 if there is any."`
	Export  exportCommand  `cmd:"" help:"Write sessions, queued and retained messages, users and rules as lines of JSON."`
	Import  importCommand  `cmd:"" help:"Store what export wrote, all or nothing, where the broker is stopped, or move a Mosquitto in."`
	SQL     sqlCommand     `cmd:"" name:"sql" help:"Answer a SELECT on views of sessions, queues, retained messages and more, of a running broker, one that is stopped, or a backup."`
	Pub     pubCommand     `cmd:"" help:"Publish messages, to this broker or any other; the flags are those of mosquitto_pub."`
	Sub     subCommand     `cmd:"" help:"Subscribe and show what comes, of this broker or any other; the flags are those of mosquitto_sub."`
	RR      rrCommand      `cmd:"" name:"rr" help:"Publish a request and show the answer; the flags are those of mosquitto_rr."`
	Bench   benchCommand   `cmd:"" help:"Measure an MQTT broker, this one or any other."`
	Version versionCommand `cmd:"" help:"Print the version."`

	Completion completionCommand `cmd:"" help:"Print what a shell needs to complete commands and flags, such as: eval \"$(promptmq completion bash)\""`
	Complete   completeCommand   `cmd:"" hidden:"" help:"Answer a shell that completes words."`
}

// settings are the flags of the commands that need a whole configuration.
type settings struct {
	File  string       `name:"config" env:"PROMPTMQ_CONFIG" placeholder:"FILE" help:"YAML file with settings. Flags and environment variables win over it."`
	Flags config.Flags `embed:""`

	environ []string // variables beside those of the environment
}

func (s *settings) load() (*config.Config, error) { return s.loadAfter(nil) }

// loadAfter loads what is to take the place of what was loaded before.
func (s *settings) loadAfter(before *config.Config) (*config.Config, error) {
	return config.Load(config.Sources{File: s.File, Environ: append(os.Environ(), s.environ...), Flags: &s.Flags, Before: before})
}

type configCommand struct {
	Check   checkCommand   `cmd:"" help:"Check a file and report every fault; exit with 2 if there is one."`
	Explain explainCommand `cmd:"" help:"Say what a key is, what it may have, and what a change of it needs."`
	Print   printCommand   `cmd:"" help:"Print the configuration that the server would run with, as commented YAML."`
}

type checkCommand struct {
	File  string `arg:"" placeholder:"FILE" help:"YAML file to check."`
	Files bool   `help:"Check the files too that it names: certificates, rules, passwords."`
}

// Run implements the command.
func (c *checkCommand) Run() error {
	cfg, err := config.Load(config.Sources{File: c.File, Variables: os.Environ()})
	if err != nil {
		return err
	}
	if c.Files {
		if faults := checkFiles(cfg); len(faults) > 0 {
			return faults
		}
	}
	_, err = fmt.Printf("%s: ok\n", c.File)
	return err
}

type printCommand struct {
	settings
	Effective bool `help:"What the broker has that runs on the data directory, what it made of each value, and where that came from; if none runs, what one would have that is started now."`
	JSON      bool `name:"json" help:"With --effective: as a list for programs."`
}

// Run implements the command.
func (c *printCommand) Run() error {
	cfg, err := c.load()
	switch {
	case err != nil:
		return err
	case c.Effective:
		return printEffective(cfg, c.JSON)
	case c.JSON:
		return config.Errors{{Origin: config.Origin{Name: "--json"}, Text: "goes with --effective only: what is printed without it is YAML, to be read back"}}
	}
	return cfg.WriteYAML(os.Stdout)
}

// troubleshooting is where docs/troubleshooting.md can be read without the sources.
const troubleshooting = "https://github.com/x0a1b/promptmq/blob/main/docs/troubleshooting.md"

// firstWords is for who says no command.
const firstWords = `promptmq is an MQTT broker, and the tools for one. Say a command:

  promptmq dev       run a broker to try things with, on this machine, until Ctrl-C
  promptmq init      make a configuration, a first user and a certificate
  promptmq server    run the broker
  promptmq status    say how the broker is that runs
  promptmq pub, sub  publish, subscribe

promptmq --help lists all commands, promptmq COMMAND --help says more about one.
`

// wordsMeant turns what people try first into what there is.
func wordsMeant(args []string) []string {
	switch {
	case len(args) == 1 && args[0] == "--version":
		return []string{"version"}
	case len(args) > 0 && args[0] == "help":
		return append(slices.Clone(args[1:]), "--help")
	}
	return flagsAsWords(args)
}

// newParser returns what parses the command line.
func newParser() *kong.Kong {
	cli := &commandLine{
		Server: serverCommand{settings: settings{Flags: config.NewFlags()}},
		Dev:    devCommand{settings: settings{Flags: config.NewFlags()}},
		Doctor: doctorCommand{settings: settings{Flags: config.NewFlags()}},
		Config: configCommand{Print: printCommand{settings: settings{Flags: config.NewFlags()}}},
	}
	return kong.Must(cli,
		kong.Name("promptmq"),
		kong.Description("An MQTT broker that acknowledges a message when it is on disk."),
		kong.ConfigureHelp(kong.HelpOptions{WrapUpperBound: 120}),
	)
}

func main() {
	if len(os.Args) == 1 {
		fmt.Fprint(os.Stderr, firstWords)
		os.Exit(exitUsage)
	}
	parser := newParser()
	hostFlag(parser, os.Args[1:])
	command, err := parser.Parse(wordsMeant(os.Args[1:]))
	if err != nil {
		if strings.Contains(err.Error(), "unknown flag "+config.FlagsWithoutEffect) {
			err = fmt.Errorf("%w: %s", err, config.NoCluster)
		}
		fmt.Fprintf(os.Stderr, "promptmq: %v\nRun \"promptmq --help\" for the commands and their flags.\n", err)
		os.Exit(exitUsage)
	}
	os.Exit(exitCode(command.Run()))
}

// exitCode reports err, where that was not done yet.
func exitCode(err error) int {
	var faults config.Errors
	var refused *admin.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &faults):
		fmt.Fprintln(os.Stderr, faults)
		return exitUsage
	case errors.As(err, &refused) && refused.Asked:
		fmt.Fprintf(os.Stderr, "promptmq: %v\n", err)
		return exitUsage
	case errors.Is(err, errTimeout):
		return exitTimeout
	case errors.Is(err, errAttention):
		return exitAttention
	case !errors.Is(err, errLogged):
		fmt.Fprintf(os.Stderr, "promptmq: %v\n", err)
		if code := codeOf(err); !code.Equal(trouble.Failure) {
			fmt.Fprintf(os.Stderr, "What to do is in docs/troubleshooting.md under %q: %s#%s\n", code.Value, troubleshooting, code.Value)
		}
	}
	return exitFailure
}
