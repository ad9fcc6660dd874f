package main

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
)

type banCommand struct {
	List banListCommand `cmd:"" help:"List the addresses that are banned for a while, because too many logins failed from there."`
	Lift banLiftCommand `cmd:"" aliases:"delete,remove" help:"Let an address connect again."`
}

type banList struct {
	Bans []inspect.Ban `json:"bans"`
}

// A banning has addresses that are banned: a login.Chain.
type banning interface {
	Bans() []access.Ban
	LiftBan(netip.Addr) bool
}

// addBanOperations adds those that list and lift bans, which are in memory only.
func addBanOperations(api *admin.API, b banning) {
	type listing struct{ admin.List }
	admin.Handle(api, admin.Operation{Method: http.MethodGet, Path: "/bans", Role: admin.Viewer, Group: "bans",
		Summary: "The addresses that are banned for a while, because too many logins failed from there."},
		func(_ context.Context, in *listing) (*inspect.Page[inspect.Ban], error) {
			list := []inspect.Ban{}
			for _, ban := range b.Bans() {
				list = append(list, inspect.Ban{Address: shownPeer(ban.Peer), Until: ban.Until.UTC()})
			}
			address := func(b *inspect.Ban) string { return b.Address }
			slices.SortFunc(list, func(a, b inspect.Ban) int { return strings.Compare(address(&a), address(&b)) })
			page := admin.Cut(list, in.Window(), address)
			return &page, nil
		})
	type lifting struct {
		Address string `path:"address" maxLength:"100" doc:"The address, or the network that the list shows."`
	}
	admin.Handle(api, admin.Operation{Method: http.MethodDelete, Path: "/bans/{address}", Role: admin.Admin, Group: "bans",
		Summary: "Let an address connect again.", Refused: []int{http.StatusNotFound}},
		func(_ context.Context, in *lifting) (*admin.Nothing, error) {
			address, err := addressIn(in.Address)
			switch {
			case err != nil:
				return nil, admin.RefuseField("address", "%q is no IP address, and no network that ban list shows", in.Address)
			case !b.LiftBan(address):
				return nil, admin.NotFound("%s is not banned", in.Address)
			}
			return new(admin.Nothing), nil
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
		bans, err := admin.All[inspect.Ban](ctx, a.Client, "/bans")
		if err != nil {
			return err
		}
		if c.JSON {
			return writeJSON(os.Stdout, &banList{bans})
		}
		rows := [][]string{{"ADDRESS", "UNTIL"}}
		for _, b := range bans {
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
		if _, err := admin.Call[admin.Nothing](ctx, a.Client, http.MethodDelete, admin.Path("bans", c.Address), nil); err != nil {
			return err
		}
		_, err := fmt.Printf("%s: may connect again\n", c.Address)
		return err
	})
}
