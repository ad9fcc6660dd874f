package main

import (
	"cmp"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm"
)

// pack writes a package.
func (r *release) pack(p platform, format, arch string) error {
	scripts := func(name string) string { return filepath.Join(r.root, "deploy", "packages", format, name) }
	contents, err := r.contents(p, format)
	if err != nil {
		return err
	}
	info := nfpm.WithDefaults(&nfpm.Info{
		Name: "promptmq", Version: r.version, Release: "1", Arch: arch, Platform: "linux", MTime: r.at,
		Maintainer: "The PromptMQ authors <packages@promptmq.invalid>", Vendor: "PromptMQ", License: "MIT",
		Homepage: "https://github.com/x0a1b/promptmq", Section: "net", Priority: "optional",
		Description: "MQTT broker that acknowledges a message when it is on disk\n" +
			"MQTT 5, 3.1.1 and 3.1 over TCP, TLS and WebSocket, with SQLite as its store,\nusers and rules, metrics for Prometheus, and a page in the browser.",
		DisableGlobbing: true,
		Overridables: nfpm.Overridables{
			Contents: contents,
			Scripts:  nfpm.Scripts{PreInstall: scripts("preinst"), PostInstall: scripts("postinst"), PreRemove: scripts("prerm"), PostRemove: scripts("postrm")},
			Deb:      nfpm.Deb{Arch: arch, Compression: "xz"},
			RPM:      nfpm.RPM{Arch: arch, Compression: "xz", BuildHost: "release", Group: "System Environment/Daemons", Summary: "MQTT broker that acknowledges a message when it is on disk"},
		},
	})
	if format == "deb" {
		info.Depends = []string{"adduser"}
		info.Scripts.PreInstall = ""
	} else {
		info.Depends = []string{"shadow-utils"}
	}
	if err := nfpm.PrepareForPackager(info, format); err != nil {
		return err
	}
	packager, err := nfpm.Get(format)
	if err != nil {
		return err
	}
	out, err := os.Create(filepath.Join(r.out, packager.ConventionalFileName(info)))
	if err != nil {
		return err
	}
	return cmp.Or(packager.Package(info, out), out.Close())
}

// contents are the files of a package. Who owns the configuration is said by postinst: before it
// there may be no such user.
func (r *release) contents(p platform, format string) (list files.Contents, err error) {
	add := func(from, to, kind string, mode fs.FileMode) {
		list = append(list, &files.Content{Source: from, Destination: to, Type: kind, FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: mode, MTime: r.at}})
	}
	in := func(path string) string { return filepath.Join(r.root, filepath.FromSlash(path)) }
	add(r.binary(p), "/usr/bin/promptmq", files.TypeFile, 0o755)
	add(in("deploy/packages/promptmq.yaml"), "/etc/promptmq/promptmq.yaml", files.TypeConfigNoReplace, 0o640)
	units, err := filepath.Glob(in("deploy/systemd/promptmq.*"))
	if err != nil {
		return nil, err
	}
	for _, unit := range units {
		add(unit, "/usr/lib/systemd/system/"+filepath.Base(unit), files.TypeFile, 0o644)
	}
	add(in("deploy/packages/sysusers.conf"), "/usr/lib/sysusers.d/promptmq.conf", files.TypeFile, 0o644)
	completions := map[string]string{"bash": "/usr/share/bash-completion/completions/promptmq", "zsh": "/usr/share/zsh/site-functions/_promptmq", "fish": "/usr/share/fish/vendor_completions.d/promptmq.fish"}
	license := "/usr/share/licenses/promptmq/LICENSE"
	if format == "deb" {
		completions["zsh"] = "/usr/share/zsh/vendor-completions/_promptmq"
		license = "/usr/share/doc/promptmq/copyright"
	}
	for _, shell := range slices.Sorted(maps.Keys(completions)) {
		path, err := r.completion(shell)
		if err != nil {
			return nil, err
		}
		add(path, completions[shell], files.TypeFile, 0o644)
	}
	add(in("LICENSE"), license, files.TypeFile, 0o644)
	add(in("README.md"), "/usr/share/doc/promptmq/README.md", files.TypeFile, 0o644)
	add(in("CHANGELOG.md"), "/usr/share/doc/promptmq/CHANGELOG.md", files.TypeFile, 0o644)
	examples, err := filepath.Glob(in("examples/*.yaml"))
	for _, e := range examples {
		add(e, "/usr/share/doc/promptmq/examples/"+filepath.Base(e), files.TypeFile, 0o644)
	}
	return list, err
}
