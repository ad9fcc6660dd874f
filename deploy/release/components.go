package main

import (
	"cmp"
	"debug/buildinfo"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// listComponents writes which modules, and which Go, the binaries are made of, as CycloneDX has
// it. It is what the binaries say of themselves.
func (r *release) listComponents() error {
	modules := make(map[string]cdx.Component)
	add := func(path, version string) {
		url := "pkg:golang/" + path + "@" + version
		modules[url] = cdx.Component{Type: cdx.ComponentTypeLibrary, BOMRef: url, Name: path, Version: version, PackageURL: url}
	}
	for _, p := range platforms {
		info, err := buildinfo.ReadFile(r.binary(p))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was not asked for
		}
		if err != nil {
			return err
		}
		add("std", strings.TrimPrefix(info.GoVersion, "go"))
		for _, m := range info.Deps {
			m = cmp.Or(m.Replace, m)
			add(m.Path, m.Version)
		}
	}
	urls := slices.Sorted(maps.Keys(modules))
	all := make([]cdx.Component, len(urls))
	for i, url := range urls {
		all[i] = modules[url]
	}
	own := "pkg:golang/github.com/x0a1b/promptmq@v" + r.version
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{Timestamp: r.at.Format(time.RFC3339), Component: &cdx.Component{
		Type: cdx.ComponentTypeApplication, BOMRef: own, Name: "promptmq", Version: r.version, PackageURL: own,
		Licenses:   &cdx.Licenses{{License: &cdx.License{ID: "MIT"}}},
		Properties: &[]cdx.Property{{Name: "commit", Value: r.commit}},
	}}
	bom.Components = &all
	bom.Dependencies = &[]cdx.Dependency{{Ref: own, Dependencies: &urls}}
	out, err := os.Create(filepath.Join(r.out, "promptmq-"+r.version+".cdx.json"))
	if err != nil {
		return err
	}
	return cmp.Or(cdx.NewBOMEncoder(out, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bom), out.Close())
}
