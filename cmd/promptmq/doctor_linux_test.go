package main

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/cmd/promptmq/doctor"
	"github.com/x0a1b/promptmq/store"
)

// A patient is a configuration with a data directory, on ports that are free.
type patient struct {
	t    *testing.T
	dir  string // of both
	data string
	env  []string
	pre  string // what a shell does first
}

func newPatient(t *testing.T) *patient {
	dir := t.TempDir()
	p := &patient{t: t, dir: dir, data: filepath.Join(dir, "data")}
	commander{t, p.data}.add("ann", "secret")
	commander{t, p.data}.ok("acl", "add", "allow", "user", "ann", "all", "topic", "#")
	return p
}

// file makes a file beside the data.
func (p *patient) file(name, text string, mode os.FileMode) string {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask is
		p.t.Fatal(err)
	}
	return path
}

// examine runs the command; its code is that of the worst finding.
func (p *patient) examine(yaml string) (found []doctor.Finding) {
	p.t.Helper()
	args := []string{"exec", binary, "doctor", "--json", "--config", p.file("promptmq.yaml", yaml, 0o600), "--data-dir", p.data}
	for _, address := range [][2]string{{"server:", "--server-bind"}, {"ws:", "--server-ws-bind"}, {"metrics:", "--metrics-bind"}} {
		if !strings.Contains(yaml, address[0]) {
			args = append(args, address[1], "127.0.0.1:0")
		}
	}
	cmd := exec.CommandContext(p.t.Context(), "sh", "-c", p.pre+strings.Join(args, " "))
	var stdout, stderr bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = environ(p.env...), &stdout, &stderr
	_ = cmd.Run() // the code says it
	r := new(doctorReport)
	if err := json.Unmarshal(stdout.Bytes(), r); err != nil || stderr.Len() > 0 {
		p.t.Fatalf("%v\n%s%s", err, &stdout, &stderr)
	}
	code := 0
	for _, f := range r.Findings {
		if f.Level == doctor.Warning && code == 0 {
			code = exitAttention
		} else if f.Level == doctor.Fault {
			code = exitFailure
		}
		if (f.Level == doctor.OK) != (f.Do == "") {
			p.t.Errorf("%+v", f)
		}
	}
	if got := cmd.ProcessState.ExitCode(); got != code || r.Well != (code == 0) {
		p.t.Errorf("code %d, expected %d\n%s", got, code, &stdout)
	}
	return r.Findings
}

// finds wants a finding, which has texts in it.
func (p *patient) finds(level doctor.Level, about, yaml string, texts ...string) {
	p.t.Helper()
	all := p.examine(yaml)
	for _, f := range all {
		missing := f.Level != level || f.About != about
		for _, text := range texts {
			missing = missing || !strings.Contains(f.What+"\n"+f.Do, text)
		}
		if !missing {
			return
		}
	}
	p.t.Errorf("%s: no %s of %s with %q in\n%+v", yaml, level, about, texts, all)
}

// TestDoctor: each fault of a configuration and its files is found, and nothing is changed.
func TestDoctor(t *testing.T) {
	unraced(t)
	t.Parallel()
	p := newPatient(t)
	p.examine("") // which has a file of its own
	before := made(t, p.dir)
	for _, f := range p.examine("") {
		if f.Level != doctor.OK && f.About != "clock" && f.About != "disk" && f.About != "kernel" && f.About != "processors" {
			t.Errorf("of a sound configuration: %+v", f)
		}
	}
	if after := made(t, p.dir); strings.Join(after, "\n") != strings.Join(before, "\n") {
		t.Errorf("was %v, is %v", before, after)
	}
	secret := p.file("passwords", "bob:$7$101$8Vro1mt5BYZbBGmb$TTrmT0VIZPCZ/yGN1cZTkBuKsuYs5sLcKVBuvDJEDWXFeh0ykKKDD2+GVcvOcFPAMtWq6mH0ILDgs8jHlp2CFw==\n", 0o644)
	p.finds(doctor.Fault, "configuration", "mqtt: {max-qos: 7}", "max-qos", "promptmq config explain mqtt.max-qos")
	p.finds(doctor.Fault, "configuration", "auth: {rules-file: /none}", "/none")
	p.finds(doctor.Warning, "secrets", fmt.Sprintf("auth: {password-file: %q}", secret), "chmod 600 "+secret)
	p.finds(doctor.Warning, "memory", "limits: {memory: 0}", "limits.memory is 0")
	p.finds(doctor.Warning, "memory", "limits: {memory: 562949953421312}", "lower limits.memory")
	p.finds(doctor.Warning, "memory", "mqtt: {max-connections: 10000000}", "connections with the cache")
	p.finds(doctor.Warning, "memory", "limits: {memory: 268435456}\nmqtt: {max-queued-bytes: 1073741824}", "one session that ends with its connection")
	p.finds(doctor.Warning, "disk", "mqtt: {max-queued-bytes: 1125899906842624}", "lower mqtt.max-queued-bytes", "enough for 0")
	p.finds(doctor.Warning, "disk", "storage: {max-size: 134217728}", "128 MiB are storage.max-size: enough for 2")
	if all := p.examine("auth: {no-such-key: 1}"); len(all) == 0 || !strings.HasPrefix(all[0].Do, "correct it") {
		t.Errorf("%+v", all)
	}
	p.finds(doctor.Note, "disk", "storage: {sqlite: {synchronous: NORMAL}}", "do not wait for a sync")
	p.env = []string{"GOMEMLIMIT=40MiB"}
	p.finds(doctor.Warning, "memory", "", "the broker may have 32 MiB")
	p.finds(doctor.Warning, "memory", "limits: {memory: 104857600}", "there are 40 MiB (GOMEMLIMIT)")
	p.env, p.pre = nil, "ulimit -n 200; "
	p.finds(doctor.Warning, "open files", "", "LimitNOFILE=", "mqtt.max-connections is 10,000")
}

// TestDoctorAccess: who could do what is judged by listeners, users and rules.
func TestDoctorAccess(t *testing.T) {
	unraced(t)
	t.Parallel()
	const open = "server: {bind: ':0', ws-bind: ''}\n"
	p := newPatient(t)
	p.finds(doctor.Note, "access", open+"auth: {allow-anonymous: true}", "rules for everyone and nobody allow")
	p.finds(doctor.Note, "access", open, "in the clear")
	commander{t, p.data}.ok("acl", "remove", "1", "--last")
	p.finds(doctor.Note, "access", open, "each user may publish and read everything")
	p.finds(doctor.Warning, "access", open+"auth: {allow-anonymous: true}", "everybody who reaches :0 may publish and read everything")
	commander{t, p.data}.ok("user", "delete", "ann", "--last")
	p.finds(doctor.Note, "access", open, "there are no users")
}

// TestDoctorData: what is wrong with the data directory, its files and its disk.
func TestDoctorData(t *testing.T) {
	unraced(t)
	t.Parallel()
	p := newPatient(t)
	chmod := func(path string, mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	database := store.File(p.data)
	chmod(p.data, 0o755)
	p.finds(doctor.Warning, "data directory", "", "chmod 700 "+p.data)
	chmod(p.data, 0o700)
	chmod(database, 0o644)
	p.finds(doctor.Warning, "data directory", "", "chmod 600 "+database)
	chmod(database, 0o600)
	later := time.Now().Add(48 * time.Hour)
	if err := os.Chtimes(database, later, later); err != nil {
		t.Fatal(err)
	}
	p.finds(doctor.Warning, "clock", "", "set the clock")
	lock, err := os.OpenFile(filepath.Join(p.data, "promptmq.lock"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	p.finds(doctor.Warning, "broker", "", "another process uses this directory")
	_ = lock.Close() // and unlocks
	sound, err := os.ReadFile(database)
	if err != nil {
		t.Fatal(err)
	}
	newer := bytes.Clone(sound)
	copy(newer[60:64], "\x00\x00\x00\x63") // PRAGMA user_version
	for text, want := range map[string]string{string(newer): "use a newer promptmq", string(sound[:1000]): "--salvage"} {
		if err := os.WriteFile(database, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p.finds(doctor.Fault, "broker", "", want)
	}
	p.data = filepath.Join(p.dir, "none")
	p.finds(doctor.Note, "data directory", "", "is not there yet")
	p.data = p.file("file", "", 0o600)
	p.finds(doctor.Fault, "data directory", "", "is no directory")
	if dir, err := os.MkdirTemp("/dev/shm", "promptmq-"); err == nil {
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		if system, _ := store.DirFileSystem(dir); system.Name == "tmpfs" {
			p.data = dir
			p.finds(doctor.Warning, "disk", "", "is on tmpfs")
			p.finds(doctor.Warning, "disk", "", "which no disk can do")
		}
	}
	if os.Geteuid() == 0 {
		p.data = filepath.Join(p.dir, "another")
		const nobody = 65534
		if err := os.Mkdir(p.data, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(p.data, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		p.finds(doctor.Note, "data directory", "", "belongs to user 65534")
	}
}

// TestDoctorCertificates: what is wrong with a certificate and its key.
func TestDoctorCertificates(t *testing.T) {
	unraced(t)
	t.Parallel()
	p := newPatient(t)
	now := time.Now()
	certify := func(from, to time.Duration, hosts ...string) string {
		t.Helper()
		template := newTemplate("broker", now, to)
		template.NotBefore, template.DNSNames = now.Add(from), hosts
		key, text, err := issue(template, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := writePrivate(filepath.Join(p.dir, keyFile), key); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("server: {bind: '', ws-bind: '', listeners: [{kind: tls, address: '127.0.0.1:0', cert-file: %q, key-file: %q}]}",
			p.file(certFile, string(text), 0o644), filepath.Join(p.dir, keyFile))
	}
	const day = 24 * time.Hour
	p.finds(doctor.OK, "certificates", certify(-day, 365*day, "localhost"), "for localhost; clients have to be given the authority CN=broker")
	p.finds(doctor.Warning, "certificates", certify(-day, 5*day, "localhost"), "ends on", "promptmq cert self-signed")
	p.finds(doctor.Fault, "certificates", certify(-9*day, -day, "localhost"), "ended on")
	p.finds(doctor.Fault, "certificates", certify(day, 9*day, "localhost"), "is good from")
	yaml := certify(-day, 365*day)
	p.finds(doctor.Warning, "certificates", yaml, "has no name that clients compare")
	if err := os.Chmod(filepath.Join(p.dir, keyFile), 0o644); err != nil {
		t.Fatal(err)
	}
	p.finds(doctor.Warning, "secrets", yaml, "chmod 600 "+filepath.Join(p.dir, keyFile))
	p.file(keyFile, "none", 0o600)
	p.finds(doctor.Fault, "configuration", yaml, keyFile)
}

// TestDoctorRevocations: a revocation list that has ended lets nobody in, and one that ends soon will.
func TestDoctorRevocations(t *testing.T) {
	unraced(t)
	t.Parallel()
	p, authority := newPatient(t), newAuthority(t)
	writeCertificate(t, p.dir, 7)
	writePEM(t, filepath.Join(p.dir, "ca.pem"), "CERTIFICATE", authority.cert.Raw)
	yaml := strings.ReplaceAll("server: {bind: '', ws-bind: '', listeners: [{kind: tls, address: '127.0.0.1:0', cert-file: DIR/cert.pem, key-file: DIR/key.pem, client-cert: required, client-ca-file: DIR/ca.pem, crl-file: DIR/crl.pem}]}", "DIR", p.dir)
	for _, test := range []struct {
		left  time.Duration
		level doctor.Level
		text  string
	}{{-time.Hour, doctor.Fault, "no client certificate of it is accepted"}, {time.Hour, doctor.Warning, "ends on"}, {90 * time.Hour, doctor.OK, "is good until"}} {
		now := time.Now()
		list, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now.Add(-100 * time.Hour), NextUpdate: now.Add(test.left)}, authority.cert, authority.key)
		if err != nil {
			t.Fatal(err)
		}
		writePEM(t, filepath.Join(p.dir, "crl.pem"), "X509 CRL", list)
		p.finds(test.level, "certificates", yaml, "crl.pem: the list of ", test.text)
	}
}

// TestDoctorPorts: a port that another program has is a fault, one of this broker is not.
func TestDoctorPorts(t *testing.T) {
	unraced(t)
	t.Parallel()
	p := newPatient(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	p.finds(doctor.Fault, "ports", fmt.Sprintf("server: {bind: %q, ws-bind: ''}", l.Addr()), "is taken by ", fmt.Sprintf("process %d", os.Getpid()), "another port with server.bind")
	plain := p.file("plain", "", 0o600)
	p.finds(doctor.Fault, "ports", fmt.Sprintf("server: {bind: '', ws-bind: '', listeners: [{kind: unix, address: %q}]}", plain), "is no socket")
	p.finds(doctor.Fault, "ports", "server: {bind: '192.0.2.77:1883', ws-bind: ''}", "no interface of this machine")

	s := start(t, "")
	running := &patient{t: t, dir: t.TempDir(), data: s.dataDir()}
	yaml := fmt.Sprintf("server: {bind: %q, ws-bind: ''}\nmetrics: {bind: %q}", s.mqtt, s.metrics)
	running.finds(doctor.OK, "ports", yaml, "taken by this broker: "+s.mqtt+", "+s.metrics)
	running.finds(doctor.OK, "broker", yaml, "one runs on "+s.dataDir())
}

// TestDoctorExamples runs the examples of docs/commands.md, and looks at the kernel of a network.
func TestDoctorExamples(t *testing.T) {
	unraced(t)
	t.Parallel()
	ownNetwork(t)
	dir := t.TempDir()
	if r := run(t, nil, "init", dir, "--yes", "--force"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	for _, line := range examplesOf(t, "TestDoctorExamples") {
		cmd := exec.CommandContext(t.Context(), binary, wordsOfShell(t, line)[1:]...)
		cmd.Env, cmd.Dir = environ(), dir
		out, _ := cmd.CombinedOutput() // the code says it
		if code := cmd.ProcessState.ExitCode(); code != 0 && code != exitAttention || !bytes.Contains(out, []byte("certificates")) && strings.Contains(line, "--config") {
			t.Errorf("%s: code %d\n%s", line, code, out)
		}
	}
	if err := os.WriteFile("/proc/sys/net/core/somaxconn", []byte("128"), 0); err != nil {
		t.Skip(err)
	}
	(&patient{t: t, dir: dir, data: filepath.Join(dir, "data")}).finds(doctor.Note, "kernel", "", "net.core.somaxconn is 128")
}
