package main

import (
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
)

// A platform is what one binary is for.
type platform struct {
	os, arch string
	arm      string // GOARM
	// packages has the architecture as each format of packages names it.
	packages map[string]string
}

// The .deb for armhf has the binary for ARMv6, which Raspberry Pi OS calls armhf too.
var platforms = []platform{
	{os: "linux", arch: "amd64", packages: map[string]string{"deb": "amd64", "rpm": "x86_64"}},
	{os: "linux", arch: "arm64", packages: map[string]string{"deb": "arm64", "rpm": "aarch64"}},
	{os: "linux", arch: "arm", arm: "6", packages: map[string]string{"deb": "armhf"}},
	{os: "linux", arch: "arm", arm: "7", packages: map[string]string{"rpm": "armv7hl"}},
	{os: "linux", arch: "386", packages: map[string]string{"deb": "i386", "rpm": "i386"}},
	{os: "linux", arch: "riscv64", packages: map[string]string{"deb": "riscv64", "rpm": "riscv64"}},
	{os: "darwin", arch: "amd64"},
	{os: "darwin", arch: "arm64"},
	{os: "windows", arch: "amd64"},
	{os: "windows", arch: "arm64"},
	{os: "freebsd", arch: "amd64"},
	{os: "freebsd", arch: "arm64"},
}

// name is that of the platform in the names of files.
func (p platform) name() string {
	if p.arm != "" {
		return p.os + "-armv" + p.arm
	}
	return p.os + "-" + p.arch
}

func (p platform) suffix() string {
	if p.os == "windows" {
		return ".exe"
	}
	return ""
}

// binary is where the binary for a platform is.
func (r *release) binary(p platform) string {
	return filepath.Join(r.out, "promptmq-"+p.name()+p.suffix())
}

// build builds a static binary. -s -w leave out what only a debugger needs: a panic still names
// functions and lines.
func (r *release) build(p platform) error {
	log.Print(p.name())
	cmd := r.command("go", "build", "-p", strconv.Itoa(r.atOnce), "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -buildid= -X main.linkedCommit="+r.commit, "-o", r.binary(p), "./cmd/promptmq")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOOS="+p.os, "GOARCH="+p.arch, "GOARM="+p.arm, "GOAMD64=v1", "GO386=sse2", "GOARM64=v8.0", "GORISCV64=rva20u64")
	if out, err := cmd.Output(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}
