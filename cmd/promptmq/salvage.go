package main

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/store"
)

// salvageHint ends the message of a start that a damaged database prevents.
const salvageHint = `run "promptmq server --salvage" to set the damaged database aside and start with what can be read of it`

// hintSalvage names the way out if err is about damage.
func hintSalvage(err error) error {
	if errors.Is(err, store.ErrDamaged) {
		return fmt.Errorf("%w; %s", err, salvageHint)
	}
	return err
}

// salvageStore repairs a damaged store and says what was lost.
func salvageStore(log *slog.Logger, o store.Options) error {
	report, err := store.Salvage(o, time.Now())
	if err != nil {
		return err
	}
	if report.Damage == nil {
		log.Info("the database is sound: --salvage changed nothing")
		return nil
	}
	log.Warn("the database was damaged and is set aside", trouble.Salvaged, "damage", report.Damage, "aside", report.Aside)
	for _, t := range report.Tables {
		log.Warn("salvaged", trouble.Salvaged, "table", t.Name, "recovered", t.Recovered, "lost", t.Lost, "unreadable_places", t.Unreadable)
	}
	return nil
}
