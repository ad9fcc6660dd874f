package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/x0a1b/promptmq/config"
)

// What is for container engines, systemd, Kubernetes and Home Assistant names paths, commands
// and versions of ours: these tests see to it that there are such. What they do is tried by
// the tests with the tag outside.

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(path)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(readFile(t, path)), into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// A container is what the Dockerfile says of one.
type container struct {
	entrypoint, health []string
	user, workdir      string
}

var instruction = regexp.MustCompile(`(?m)^(HEALTHCHECK .*CMD|ENTRYPOINT|USER|WORKDIR) (.+)$`)

// readContainer reads the last stage of the Dockerfile.
func readContainer(t *testing.T) (c container) {
	t.Helper()
	text := readFile(t, "Dockerfile")
	list := func(words string) (command []string) {
		if err := json.Unmarshal([]byte(words), &command); err != nil {
			t.Fatalf("%s: %v", words, err)
		}
		return command
	}
	for _, m := range instruction.FindAllStringSubmatch(text[strings.LastIndex(text, "\nFROM "):], -1) {
		switch name, _, _ := strings.Cut(m[1], " "); name {
		case "HEALTHCHECK":
			c.health = list(m[2])
		case "ENTRYPOINT":
			c.entrypoint = list(m[2])
		case "USER":
			c.user = m[2]
		case "WORKDIR":
			c.workdir = m[2]
		}
	}
	return c
}

type composeFile struct {
	Services map[string]struct {
		Command []string
		Volumes []string
	}
	Volumes map[string]any
}

func TestDeployedContainers(t *testing.T) {
	unraced(t)
	t.Parallel()
	c := readContainer(t)
	parseCommand(t, "HEALTHCHECK", c.health[1:], wrongCommand)
	var compose composeFile
	readYAML(t, "compose.yaml", &compose)
	parseCommand(t, "compose.yaml", append(slices.Clone(c.entrypoint[1:]), compose.Services["promptmq"].Command...), wrongCommand)
	for name, s := range compose.Services {
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			_, named := compose.Volumes[from]
			if _, err := os.Stat(filepath.Join(root, from)); !named && err != nil {
				t.Errorf("compose.yaml, %s: %v", name, err)
			}
		}
	}
	goVersion := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(readFile(t, "go.mod"))[1]
	if text := readFile(t, "Dockerfile"); !strings.Contains(text, "golang:"+goVersion+" ") {
		t.Errorf("the Dockerfile builds with another Go than %s", goVersion)
	}

	// What the program is made of goes to the engine, all of it.
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{if .Main}}{{$.ImportPath}}{{end}}{{end}}", "./cmd/promptmq")
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	sent := strings.Fields(readFile(t, ".dockerignore"))
	for _, path := range append(strings.Fields(string(out)), module+"/go.mod", module+"/go.sum") {
		first, _, _ := strings.Cut(strings.TrimPrefix(path, module+"/"), "/")
		if !slices.Contains(sent, "!"+first) {
			t.Errorf(".dockerignore leaves out %s", first)
		}
	}
}

func TestDeployedConfigurations(t *testing.T) {
	t.Parallel()
	var chart struct{ Config map[string]any }
	readYAML(t, "deploy/helm/promptmq/values.yaml", &chart)
	values, err := yaml.Marshal(chart.Config)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"values.yaml": string(values), "packages": readFile(t, "deploy/packages/promptmq.yaml"), "compose": readFile(t, "deploy/compose/promptmq.yaml")} {
		file := filepath.Join(t.TempDir(), "promptmq.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Load(config.Sources{File: file}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Each command of a unit or a script is one of ours, and scripts are such for a shell.
func TestDeployedCommands(t *testing.T) {
	t.Parallel()
	unit := readFile(t, "deploy/systemd/promptmq.service")
	lines := regexp.MustCompile(`(?m)^Exec\w+=(.*)$`).FindAllStringSubmatch(unit, -1)
	for _, m := range lines {
		for _, command := range commandsIn(m[1]) {
			parseCommand(t, "promptmq.service", command, wrongCommand)
		}
	}
	if len(lines) != 2 {
		t.Errorf("the unit has %d commands", len(lines))
	}
	scripts := []string{"deploy/home-assistant/run.sh", "build.sh"}
	for _, pattern := range []string{"deb/*", "rpm/*"} {
		found, err := filepath.Glob(filepath.Join(root, "deploy/packages", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			scripts = append(scripts, strings.TrimPrefix(f, root+"/"))
		}
	}
	for _, script := range scripts {
		if out, err := exec.CommandContext(t.Context(), "sh", "-n", filepath.Join(root, script)).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", script, err, out)
		}
		for _, command := range commandsIn(strings.ReplaceAll(readFile(t, script), `"$@"`, "")) {
			parseCommand(t, script, command, wrongCommand)
		}
	}
}

// One version, wherever one has to stand; and the add-on says the same of its options everywhere.
func TestDeployedVersions(t *testing.T) {
	t.Parallel()
	var chart struct {
		Version    string
		AppVersion string `yaml:"appVersion"`
	}
	readYAML(t, "deploy/helm/promptmq/Chart.yaml", &chart)
	var addon struct {
		Version                string
		Arch                   []string
		Options, Schema, Ports map[string]any
	}
	readYAML(t, "deploy/home-assistant/config.yaml", &addon)
	var build struct {
		Args struct {
			VERSION string `yaml:"VERSION"`
		}
		BuildFrom map[string]string `yaml:"build_from"`
	}
	readYAML(t, "deploy/home-assistant/build.yaml", &build)
	for where, v := range map[string]string{"Chart.yaml": chart.Version, "appVersion": chart.AppVersion, "config.yaml": addon.Version, "build.yaml": build.Args.VERSION} {
		if v != release {
			t.Errorf("%s: version %q, not %q", where, v, release)
		}
	}
	for _, arch := range addon.Arch {
		if build.BuildFrom[arch] == "" || !strings.Contains(readFile(t, "deploy/home-assistant/Dockerfile"), arch+") name=") {
			t.Errorf("the add-on cannot be built for %s", arch)
		}
	}
	translations, err := filepath.Glob(filepath.Join(root, "deploy/home-assistant/translations/*.yaml"))
	if err != nil || len(translations) == 0 {
		t.Fatal("no translations", err)
	}
	for _, path := range translations {
		var words struct{ Configuration, Network map[string]any }
		readYAML(t, strings.TrimPrefix(path, root+"/"), &words)
		for option := range addon.Options {
			if addon.Schema[option] == nil || words.Configuration[option] == nil || !strings.Contains(readFile(t, "deploy/home-assistant/run.sh"), "."+option) {
				t.Errorf("%s: option %s is not everywhere", path, option)
			}
		}
		for port := range addon.Ports {
			if words.Network[port] == nil {
				t.Errorf("%s: port %s is not there", path, port)
			}
		}
	}
}
