package main

import (
	"fmt"
	"os"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/cmd/promptmq/mosquitto"
	"github.com/x0a1b/promptmq/terminal"
)

type importMosquittoCommand struct {
	Conf   string `required:"" placeholder:"FILE" help:"The mosquitto.conf."`
	DryRun bool   `name:"dry-run" help:"Write nothing, and report what would become of each thing."`
	JSON   bool   `name:"json" help:"Write the report as JSON."`
}

// Run implements the command.
func (c *importMosquittoCommand) Run() error {
	read, err := mosquitto.ReadConf(c.Conf)
	if err != nil {
		return admin.Refuse("nothing was imported: %v", err)
	}
	if err := c.tell(read.Report); err != nil {
		return err
	}
	if read.Report.Count(mosquitto.Changed)+read.Report.Count(mosquitto.LeftOut) > 0 {
		return errAttention
	}
	return nil
}

// tell writes the report.
func (c *importMosquittoCommand) tell(r *mosquitto.Report) error {
	if c.JSON {
		return writeJSON(os.Stdout, r.Findings)
	}
	t := terminal.Table{Columns: []terminal.Column{{Title: "WHERE"}, {Title: "WHAT"}, {Title: "IS"}, {Title: "WHY"}}}
	for _, f := range r.Findings {
		t.Add(f.Place(), f.What, f.Outcome.String(), f.Why)
	}
	columns, _ := terminal.Size(os.Stdout)
	if err := t.Write(os.Stdout, columns); err != nil {
		return err
	}
	_, err := fmt.Printf("%d taken, %d changed, %d left out, %d refused\n", r.Count(mosquitto.Taken), r.Count(mosquitto.Changed), r.Count(mosquitto.LeftOut), r.Count(mosquitto.Refused))
	return err
}
