package main

import (
	"archive/tar"
	"archive/zip"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// A file is one of an archive.
type file struct {
	from, name string // its path, and that in the archive
	mode       fs.FileMode
}

// files are those of the archive for a platform, in order.
func (r *release) files(p platform) (list []file, err error) {
	list = []file{{r.binary(p), "promptmq" + p.suffix(), 0o755}}
	add := func(pattern, dir string) error {
		found, err := filepath.Glob(filepath.Join(r.root, filepath.FromSlash(pattern)))
		if err == nil && len(found) == 0 {
			err = fmt.Errorf("there is no %s", pattern)
		}
		for _, f := range found {
			list = append(list, file{f, dir + filepath.Base(f), 0o644})
		}
		return err
	}
	wanted := [][2]string{{"LICENSE", ""}, {"README.md", ""}, {"CHANGELOG.md", ""}, {"examples/*.yaml", "examples/"}}
	if p.os == "linux" {
		wanted = append(wanted, [2]string{"deploy/systemd/*", "systemd/"}, [2]string{"deploy/packages/promptmq.yaml", "systemd/"}, [2]string{"deploy/packages/sysusers.conf", "systemd/"})
	}
	for _, w := range wanted {
		if err := add(w[0], w[1]); err != nil {
			return nil, err
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		path, err := r.completion(shell)
		if err != nil {
			return nil, err
		}
		list = append(list, file{path, "completion/promptmq." + shell, 0o644})
	}
	slices.SortFunc(list, func(a, b file) int { return cmp.Compare(a.name, b.name) })
	return list, nil
}

// completion returns the path of what the program prints for a shell.
func (r *release) completion(shell string) (string, error) {
	path := filepath.Join(r.staging, "promptmq."+shell)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	text, err := r.command("go", "run", "-trimpath", "./cmd/promptmq", "completion", shell).Output()
	if err != nil {
		return "", fmt.Errorf("promptmq completion %s: %w", shell, err)
	}
	return path, os.WriteFile(path, text, 0o644)
}

// archive writes a .tar.gz, or a .zip for Windows, with everything in one directory.
func (r *release) archive(p platform) error {
	list, err := r.files(p)
	if err != nil {
		return err
	}
	dir := "promptmq-" + r.version + "-" + p.name()
	suffix, write := ".tar.gz", r.tar
	if p.os == "windows" {
		suffix, write = ".zip", r.zip
	}
	out, err := os.Create(filepath.Join(r.out, dir+suffix))
	if err != nil {
		return err
	}
	return cmp.Or(write(out, dir+"/", list), out.Close())
}

func (r *release) tar(out io.Writer, dir string, list []file) error {
	packed, err := gzip.NewWriterLevel(out, gzip.BestCompression)
	if err != nil {
		return err
	}
	w := tar.NewWriter(packed)
	for _, f := range list {
		text, err := os.ReadFile(f.from)
		if err != nil {
			return err
		}
		h := &tar.Header{Format: tar.FormatUSTAR, Typeflag: tar.TypeReg, Name: dir + f.name, Mode: int64(f.mode), Size: int64(len(text)), ModTime: r.at, Uname: "root", Gname: "root"}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if _, err := w.Write(text); err != nil {
			return err
		}
	}
	return cmp.Or(w.Close(), packed.Close())
}

func (r *release) zip(out io.Writer, dir string, list []file) error {
	w := zip.NewWriter(out)
	for _, f := range list {
		text, err := os.ReadFile(f.from)
		if err != nil {
			return err
		}
		h := &zip.FileHeader{Name: dir + f.name, Method: zip.Deflate, Modified: r.at}
		h.SetMode(f.mode)
		to, err := w.CreateHeader(h)
		if err != nil {
			return err
		}
		if _, err := to.Write(text); err != nil {
			return err
		}
	}
	return w.Close()
}

// sum writes the sums of all files, as sha256sum reads them.
func (r *release) sum() error {
	entries, err := os.ReadDir(r.out) // sorted
	if err != nil {
		return err
	}
	var sums []byte
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(r.out, e.Name()))
		if err != nil {
			return err
		}
		sums = fmt.Appendf(sums, "%x  %s\n", sha256.Sum256(text), e.Name())
	}
	return os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), sums, 0o644)
}
