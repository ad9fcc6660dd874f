//go:build outside

package main

import (
	"cmp"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestClientPrograms is what `make clients` runs. It needs the registries of the languages, and compilers.

var (
	clientsDir  = flag.String("clients.dir", "/tmp/promptmq-clients", "where the client programs and their libraries are put")
	clientsOnly = flag.String("clients.only", "", "a regular expression for the names of the client programs to run")
)

// A clientProgram is one of examples/clients. Commands are for sh, in a copy of its directory; {role}, {host},
// {port}, {ws}, {topic}, {qos} and {count} stand for what they say, {dir} for an empty directory, {page} for the URL of
// the copy, {flows} for its path and {free} for a free port.
type clientProgram struct {
	name, mqtt, dir string
	install         string
	version         string // prints it
	run             string
	twice           string         // why messages of QoS 2 may come twice with this library; empty: they may not
	stuck           map[int]string // why a program may not come back, by QoS
}

const (
	installPython   = `test -d venv || python3 -m venv venv; venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt`
	installNode     = `npm install --silent --no-audit --no-fund`
	installJava     = `mvn -q -B compile dependency:copy-dependencies`
	installC        = `sh build.sh`
	strayMessage    = "the library publishes a message that is not the program's, and is refused"
	versionOfMQTTJS = `node -p 'JSON.parse(fs.readFileSync("node_modules/mqtt/package.json")).version'`
	arguments       = ` {role} {host} {port} {topic} {qos} {count}`
	headless        = `chromium --headless=new --no-sandbox --disable-gpu --enable-logging=stderr --remote-debugging-port=0 --user-data-dir={dir} `
)

var clientPrograms = []clientProgram{
	{name: "Go, paho.golang (autopaho)", mqtt: "5", dir: "go", install: `mkdir -p bin; go build -o bin ./...`, version: `go list -m -f '{{.Version}}' github.com/eclipse/paho.golang`, run: `bin/paho5` + arguments},
	{name: "Go, paho.mqtt.golang", mqtt: "3.1.1", dir: "go", install: `mkdir -p bin; go build -o bin ./...`, version: `go list -m -f '{{.Version}}' github.com/eclipse/paho.mqtt.golang`, run: `bin/paho311` + arguments, twice: "the library does not know again what it has received"},
	{name: "Python, paho-mqtt", mqtt: "5", dir: "python", install: installPython, version: `venv/bin/python -c "import importlib.metadata as m; print(m.version('paho-mqtt'))"`,
		run: `venv/bin/python paho2.py` + arguments, twice: "the library publishes again what had its PUBREC"},
	{name: "Python, aiomqtt", mqtt: "5", dir: "python", install: installPython, version: `venv/bin/python -c "import importlib.metadata as m; print(m.version('aiomqtt'))"`,
		run: `venv/bin/python aio.py` + arguments, twice: "the library forgets what was in flight, and the program publishes it again"},
	{name: "JavaScript, MQTT.js in Node", mqtt: "5", dir: "js", install: installNode, version: versionOfMQTTJS, run: `node node.js` + arguments},
	{name: "JavaScript, MQTT.js in Chromium", mqtt: "5, WebSocket", dir: "js", install: installNode + `; cp node_modules/mqtt/dist/mqtt.min.js .`, version: versionOfMQTTJS,
		run: headless + `'{page}/browser.html?role={role}&url=ws://{host}:{ws}&topic={topic}&qos={qos}&count={count}'`},
	{name: "Node-RED flow", mqtt: "5", dir: "nodered", install: installNode, version: `node -p 'JSON.parse(fs.readFileSync("node_modules/node-red/package.json")).version'`,
		run:   `env MQTT_HOST={host} MQTT_PORT={port} MQTT_CLIENT={topic}-{role} MQTT_TOPIC={topic} MQTT_QOS={qos} MQTT_COUNT={count} node node_modules/node-red/red.js --userDir {dir} -p {free} -D mqttReconnectTime=2000 -D flowFile={flows}/{role}.json`,
		twice: `the node drops what comes without a connection, and the flow publishes it again`},
	{name: "Java, HiveMQ client", mqtt: "5", dir: "java", install: installJava, version: `ls target/dependency | sed -n 's/^hivemq-mqtt-client-\(.*\).jar$/\1/p'`,
		run: `java -cp 'target/classes:target/dependency/*' HiveMq` + arguments},
	{name: "Java, Paho", mqtt: "3.1.1", dir: "java", install: installJava, version: `ls target/dependency | sed -n 's/^org.eclipse.paho.client.mqttv3-\(.*\).jar$/\1/p'`,
		run: `java -cp 'target/classes:target/dependency/*' Paho` + arguments},
	{name: "C, libmosquitto", mqtt: "5", dir: "c", install: installC, version: `dpkg-query -W -f '${Version}' libmosquitto1`, run: `bin/mosquitto` + arguments},
	{name: "C, Paho (MQTTAsync)", mqtt: "3.1.1", dir: "c", install: installC, version: `dpkg-query -W -f '${Version}' libpaho-mqtt1.3`, run: `bin/paho` + arguments,
		stuck: map[int]string{1: strayMessage, 2: strayMessage}},
	{name: "Rust, rumqttc", mqtt: "5", dir: "rust", install: `cargo build --quiet --release`, version: `cargo tree --quiet --depth 1 | sed -n 's/.*rumqttc v//p'`, run: `target/release/numbers` + arguments,
		stuck: map[int]string{2: "the library ends the connection at each PUBREL that is sent again"}},
}

// substituted has values in place of their names in braces.
func substituted(text string, values map[string]string) string {
	for name, value := range values {
		text = strings.ReplaceAll(text, "{"+name+"}", value)
	}
	return text
}

// shell runs a command in a copy of the program's directory, and returns its last line.
func (p clientProgram) shell(text string) (string, error) {
	cmd := exec.Command("nice", "sh", "-ec", text)
	cmd.Dir = p.copied()
	out, err := cmd.CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1], err
}

func (p clientProgram) copied() string { return filepath.Join(*clientsDir, p.dir) }

// prepare installs a program and returns its library's version, or why it cannot be had.
func (p clientProgram) prepare(t *testing.T) (version string, err error) {
	t.Helper()
	if err := os.MkdirAll(*clientsDir, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-rT", filepath.Join(examplesDir, "clients", p.dir), p.copied()).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if last, err := p.shell(p.install); err != nil {
		return "", fmt.Errorf("%s", cmp.Or(last, err.Error()))
	}
	version, err = p.shell(p.version)
	if err != nil {
		return "", fmt.Errorf("%s", cmp.Or(version, err.Error()))
	}
	return strings.TrimPrefix(version, "v"), nil
}

// start runs the program in a role.
func (p clientProgram) start(t *testing.T, s *server, role string, qos int) *heard {
	t.Helper()
	host, port := hostPort(t, s.mqtt)
	_, ws := hostPort(t, s.ws)
	files := httptest.NewServer(http.FileServer(http.Dir(p.copied())))
	t.Cleanup(files.Close)
	_, free := hostPort(t, freeAddress(t))
	command := substituted(p.run, map[string]string{"role": role, "host": host, "port": port, "ws": ws, "topic": "numbers",
		"qos": fmt.Sprint(qos), "count": fmt.Sprint(survivalMessages), "dir": t.TempDir(), "page": files.URL, "flows": p.copied(), "free": free})
	return launch(t, p.copied(), nil, "sh", "-c", "exec "+command)
}

// judge says what an outcome is worth, and whether that is as it should be, or known to be the library's fault.
func (p clientProgram) judge(qos int, out outcome) (verdict string, good bool) {
	switch {
	case out.fault != "":
		first, _, _ := strings.Cut(out.fault, ":")
		return known(first, p.stuck[qos])
	case out.lost > 0:
		return "lost", false
	case qos == 2 && out.twice > 0:
		return known("came twice", p.twice)
	case qos == 2:
		return "each once", true
	}
	return "all came", true
}

// known adds why the library does so, if it is known to.
func known(verdict, why string) (string, bool) {
	if why == "" {
		return verdict, false
	}
	return verdict + ": " + why, true
}

// clientsTable has a line for each program that was run.
type clientsTable struct{ lines []string }

func (c *clientsTable) add(cells ...any) {
	text := "|"
	for _, cell := range cells {
		text += fmt.Sprintf(" %v |", cell)
	}
	c.lines = append(c.lines, text)
}

// TestClientPrograms: each program publishes 2,000 messages of QoS 1, then of QoS 2, through a broker that is killed
// in the middle. What was acknowledged arrives, and no program has to be started again.
func TestClientPrograms(t *testing.T) {
	only := regexp.MustCompile(*clientsOnly)
	var table clientsTable
	table.add("client", "version", "MQTT", "QoS", "published", "acknowledged", "received", "twice", "lost", "verdict")
	table.add("---", "---", "---", "---", "---", "---", "---", "---", "---", "---")
	for _, p := range clientPrograms {
		if !only.MatchString(p.name) {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			version, err := p.prepare(t)
			if err != nil {
				table.add(p.name, "", p.mqtt, "", "", "", "", "", "", "not run: "+err.Error())
				t.Skip(err)
			}
			for _, qos := range []int{1, 2} {
				out := survive(t, func(role string, s *server) *heard { return p.start(t, s, role, qos) }, func(*server) {})
				verdict, good := p.judge(qos, out)
				table.add(p.name, version, p.mqtt, qos, out.sent, out.acknowledged, out.received, out.twice, out.lost, verdict)
				t.Log(table.lines[len(table.lines)-1])
				if !good {
					t.Errorf("QoS %d: %s\n%s", qos, verdict, out.fault)
				}
			}
		})
	}
	if only.MatchString(sparkplugProgram.name) {
		t.Run(sparkplugProgram.name, func(t *testing.T) { surviveSparkplug(t, &table) })
	}
	t.Run("control", func(t *testing.T) { controlClients(t, &table) })
	t.Log("\n" + table.String())
	if *update && *clientsOnly == "" {
		table.write(t)
	}
}

// clientsPage has the table between two comments.
const clientsPage, tableBegins, tableEnds = "../../docs/clients.md", "<!-- make clients writes this table -->\n", "<!-- until here -->"

func (c *clientsTable) String() string { return strings.Join(c.lines, "\n") }

func (c *clientsTable) write(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(clientsPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), tableBegins)
	_, after, ends := strings.Cut(rest, tableEnds)
	if !found || !ends {
		t.Fatalf("%s has no place for the table", clientsPage)
	}
	writeText(t, clientsPage, before+tableBegins+c.String()+"\n"+tableEnds+after)
}

// controlClients: where the broker's data are gone after the kill, the measurement says that messages are lost.
func controlClients(t *testing.T, table *clientsTable) {
	p := clientPrograms[0]
	version, err := p.prepare(t)
	if err != nil {
		t.Skip(err)
	}
	out := survive(t, func(role string, s *server) *heard { return p.start(t, s, role, 1) }, func(s *server) {
		if err := os.RemoveAll(s.dataDir()); err != nil {
			t.Fatal(err)
		}
	})
	table.add("*control*: "+p.name+", the broker's data deleted at the kill", version, p.mqtt, 1, out.sent, out.acknowledged, out.received, out.twice, out.lost, "lost, as it must be")
	if out.lost == 0 {
		t.Errorf("nothing is lost: %+v", out)
	}
}
