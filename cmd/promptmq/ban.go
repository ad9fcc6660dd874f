package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/admin"
)

type banCommand struct {
	List banListCommand `cmd:"" help:"List the addresses that are banned for a while, because too many logins failed from there."`
	Lift banLiftCommand `cmd:"" help:"Let an address connect again."`
}

type listedBan struct {
	Address string    `json:"address"`
	Until   time.Time `json:"until"`
}

type banList struct {
	Bans []listedBan `json:"bans"`
}

type banLift struct {
	Address string `json:"address"`
}

// A banning has addresses that are banned: a login.Chain.
type banning interface {
	Bans() []access.Ban
	LiftBan(netip.Addr) bool
}

// addBanCommands adds those that list and lift bans, which are in memory only.
func addBanCommands(c *admin.Commands, b banning) {
	admin.Handle(c, "/ban/list", func(context.Context, *nothing) (*banList, error) {
		list := &banList{Bans: []listedBan{}}
		for _, ban := range b.Bans() {
			list.Bans = append(list.Bans, listedBan{shownPeer(ban.Peer), ban.Until.UTC()})
		}
		return list, nil
	})
	admin.Handle(c, "/ban/lift", func(_ context.Context, in *banLift) (*nothing, error) {
		address, err := addressIn(in.Address)
		switch {
		case err != nil:
			return nil, admin.Refuse("%q is no IP address, and no network that ban list shows", in.Address)
		case !b.LiftBan(address):
			return nil, admin.Refuse("%s is not banned", in.Address)
		}
		return new(nothing), nil
	})
}

// shownPeer is an address, or the network that it is taken for.
func shownPeer(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// addressIn reads what shownPeer writes, or any address.
func addressIn(text string) (netip.Addr, error) {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Addr(), nil
	}
	return netip.ParseAddr(text)
}

type banListCommand struct {
	place
	JSON bool `help:"Write JSON."`
}

// Run implements the command.
func (c *banListCommand) Run() error {
	return c.ask(func(ctx context.Context, a *administered) error {
		out, err := admin.Call[banList](ctx, a.Client, "/ban/list", new(nothing))
		if err != nil {
			return err
		}
		if c.JSON {
			return writeJSON(os.Stdout, out)
		}
		rows := [][]string{{"ADDRESS", "UNTIL"}}
		for _, b := range out.Bans {
			rows = append(rows, []string{b.Address, b.Until.Format(time.RFC3339)})
		}
		return writeTable(os.Stdout, rows)
	})
}

type banLiftCommand struct {
	place
	Address string `arg:"" help:"The address, or the network that list shows."`
}

// Run implements the command.
func (c *banLiftCommand) Run() error {
	return c.ask(func(ctx context.Context, a *administered) error {
		if _, err := admin.Call[nothing](ctx, a.Client, "/ban/lift", &banLift{c.Address}); err != nil {
			return err
		}
		_, err := fmt.Printf("%s: may connect again\n", c.Address)
		return err
	})
}
