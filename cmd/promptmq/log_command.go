package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
)

type logCommand struct {
	Level logLevelCommand `cmd:"" help:"Print the level of the log, or set it until a restart, or until a reload brings another."`
}

type logLevelCommand struct {
	place
	Level string `arg:"" optional:"" placeholder:"LEVEL" help:"trace, debug, info, warn, error or fatal; configured: that of log.level again. None: it is printed."`
}

// Run implements the command.
func (c *logLevelCommand) Run() error {
	return c.ask(func(ctx context.Context, a *administered) error {
		var out *inspect.LogLevel
		var err error
		switch c.Level {
		case "":
			out, err = admin.Call[inspect.LogLevel](ctx, a.Client, http.MethodGet, "/log/level", nil)
		case "configured":
			out, err = admin.Call[inspect.LogLevel](ctx, a.Client, http.MethodPut, "/log/level", map[string]string{"level": ""})
		default:
			out, err = admin.Call[inspect.LogLevel](ctx, a.Client, http.MethodPut, "/log/level", map[string]string{"level": c.Level})
		}
		if err != nil {
			return err
		}
		line := out.Level
		if out.SetAtRunTime {
			line += ", set at run time; log.level is " + out.Configured
		}
		_, err = fmt.Println(line)
		return err
	})
}
