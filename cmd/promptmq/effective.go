package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/broker/memory"
	"github.com/x0a1b/promptmq/config"
	"github.com/x0a1b/promptmq/terminal"
)

// inUse says what a running broker made of values of its configuration, by key. memoryLimit is
// its limit in bytes.
func inUse(cfg *config.Config, b *broker.Broker, memoryLimit int64, log config.Log, level *logLevel) map[string]string {
	made := workedOut(cfg, memoryLimit)
	made["log.format"] = log.Format
	if l := level.state(); l.SetAtRunTime {
		made["log.level"] = l.Level + " (set while it runs)"
	}
	made["mqtt.max-connections"] = strconv.FormatInt(b.ConnectionsMax(), 10)
	for _, l := range b.Listeners() {
		switch l.String() {
		case "mqtt":
			made["server.bind"] = l.Addr().String()
		case "websocket":
			made["server.ws-bind"] = l.Addr().String()
		}
	}
	return made
}

// workedOut is the part of inUse for which no broker is needed.
func workedOut(cfg *config.Config, memoryLimit int64) map[string]string {
	made := map[string]string{
		"storage.data-dir":     config.Absolute(cfg.Store.DataDir),
		"auth.hashing.workers": strconv.Itoa(cfg.Login.Workers()),
	}
	if cfg.Broker.Limits.Memory == broker.MemoryDefault {
		made["limits.memory"] = strconv.FormatInt(memoryLimit, 10)
		if memoryLimit <= 0 {
			made["limits.memory"] = "no limit: how much memory there is cannot be told"
		}
	}
	return made
}

// withInUse has what was made of values beside them, where it is something else.
func withInUse(list []inspect.Setting, made map[string]string) *inspect.Page[inspect.Setting] {
	for i := range list {
		if is, known := made[list[i].Key]; known && is != list[i].Value {
			list[i].InUse = is
		}
	}
	return &inspect.Page[inspect.Setting]{Items: list, Total: len(list)}
}

// printEffective prints what the broker has that runs on the data directory of cfg, or what one
// would have.
func printEffective(cfg *config.Config, asJSON bool) error {
	dir, ctx := config.Absolute(cfg.Store.DataDir), context.Background()
	of := "the broker that runs on " + dir
	found, err := runningSettings(ctx, dir)
	if errors.Is(err, admin.ErrNobody) {
		limit, _ := memory.DefaultLimit()
		of, err = "no broker runs on "+dir+"; this is what one would have that is started now", nil
		found = withInUse(cfg.Settings(), workedOut(cfg, limit))
	}
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(os.Stdout).Encode(found.Items)
	}
	fmt.Fprintf(os.Stderr, "%s\n", of)
	t := terminal.Table{Columns: []terminal.Column{{Title: "KEY"}, {Title: "VALUE", Least: 20}, {Title: "IN USE"}, {Title: "FROM"}}}
	if slices.ContainsFunc(found.Items, func(s inspect.Setting) bool { return s.Waiting != nil }) {
		t.Columns = append(t.Columns, terminal.Column{Title: "WAITS FOR A RESTART", Least: 20})
	}
	for _, s := range found.Items {
		cells := []string{s.Key, quotedIfEmpty(s.Value), s.InUse, s.Source}
		if s.Waiting == nil && len(t.Columns) > len(cells) {
			cells = append(cells, "")
		} else if s.Waiting != nil {
			cells = append(cells, fmt.Sprintf("%s (%s)", quotedIfEmpty(*s.Waiting), s.WaitingSource))
		}
		t.Add(cells...)
	}
	columns, _ := terminal.Size(os.Stdout)
	return t.Write(os.Stdout, columns)
}

func quotedIfEmpty(value string) string {
	if value == "" {
		return `""`
	}
	return value
}

func runningSettings(ctx context.Context, dir string) (*inspect.Page[inspect.Setting], error) {
	a, err := dial(ctx, dir)
	if err != nil {
		return nil, err
	}
	return admin.Call[inspect.Page[inspect.Setting]](ctx, a.Client, http.MethodGet, "/config", nil)
}
