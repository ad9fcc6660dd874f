package login

import (
	"context"
	"hash/maphash"
	"slices"

	"github.com/x0a1b/promptmq/broker/access"
)

// A User is somebody in the database.
type User struct {
	Name   string
	Hash   *access.Hash      // nil: no password is right
	SCRAM  *access.SCRAMKeys // nil: no proof is
	Groups []string
	// Disabled users are not let in, however they prove who they are.
	Disabled bool
}

// A directory is who has a password. It does not change.
type directory struct {
	users map[string]User         // of the database
	file  map[string]*access.Hash // of the password file, without those of the database
	// asked says that there are users, or a password file: user names mean something.
	asked  bool
	hashes []*access.Hash // of all
	seed   maphash.Seed
}

func newDirectory(users []User, entries []access.PasswordEntry, hasFile bool) *directory {
	d := &directory{
		users: make(map[string]User, len(users)), file: make(map[string]*access.Hash, len(entries)),
		asked: len(users) > 0 || hasFile, seed: maphash.MakeSeed(),
	}
	for _, u := range users {
		d.users[u.Name] = u
		if u.Hash != nil {
			d.hashes = append(d.hashes, u.Hash)
		}
	}
	for _, e := range entries {
		if _, stored := d.users[e.User]; !stored {
			d.file[e.User] = e.Hash
			d.hashes = append(d.hashes, e.Hash)
		}
	}
	return d
}

// find returns a user, and whether there is such a one. Its hash may be nil: there is a
// stand-in for it then.
func (d *directory) find(a *access.Attempt) (u User, found bool) {
	if !a.HasUser {
		return User{}, false
	}
	if u, found = d.users[a.User]; found {
		return u, true
	}
	hash := d.file[a.User]
	return User{Name: a.User, Hash: hash}, hash != nil
}

// standIn returns the hash of somebody else for a user that is not there, or has no password:
// to compare with it takes as long. It is the same one each time; nil: nobody has a password.
func (d *directory) standIn(user string) *access.Hash {
	if len(d.hashes) == 0 {
		return nil
	}
	return d.hashes[maphash.String(d.seed, user)%uint64(len(d.hashes))]
}

// Listed returns the user of the database, or else of the password file, that has this name.
func (c *Chain) Listed(user string) (u User, found bool) {
	return c.directory.Load().find(&access.Attempt{User: user, HasUser: true})
}

// HasLists reports whether there are users in the database, or there is a password file.
func (c *Chain) HasLists() bool { return c.directory.Load().asked }

// SetUsers replaces the users of the database. They come before those of a password file with
// the same name.
func (c *Chain) SetUsers(users []User) {
	c.setting.Lock()
	defer c.setting.Unlock()
	c.users = slices.Clone(users)
	c.directory.Store(newDirectory(c.users, c.entries, c.hasFile))
}

// SetPasswordFile replaces the users of the password file. The Chain owns entries.
func (c *Chain) SetPasswordFile(entries []access.PasswordEntry) {
	c.setPasswordFile(entries, true)
}

// RemovePasswordFile says that there is no password file.
func (c *Chain) RemovePasswordFile() { c.setPasswordFile(nil, false) }

func (c *Chain) setPasswordFile(entries []access.PasswordEntry, exists bool) {
	c.setting.Lock()
	defer c.setting.Unlock()
	c.entries, c.hasFile = entries, exists
	c.directory.Store(newDirectory(c.users, c.entries, c.hasFile))
}

// SCRAMKeys implements SCRAMUsers for the users of the database.
func (c *Chain) SCRAMKeys(_ context.Context, user string) (*access.SCRAMKeys, *access.Identity, error) {
	u, found := c.directory.Load().users[user]
	if !found || u.Disabled || u.SCRAM == nil {
		return nil, nil, nil
	}
	return u.SCRAM, &access.Identity{User: u.Name, Groups: u.Groups, Method: access.BySCRAM}, nil
}
