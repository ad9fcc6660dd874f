package mosquitto

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// readConf reads a mosquitto.conf of these lines, and files beside it.
func readConf(t *testing.T, conf string, files ...string) *Conf {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "mosquitto.conf")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(conf, "DIR", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := ReadConf(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// listenerTexts are the entries of server.listeners, on a line each.
func listenerTexts(c *Conf) (texts []string) {
	for _, entry := range c.Listeners {
		var pairs []string
		for _, v := range entry {
			if v.Path != "name" {
				pairs = append(pairs, v.Path+"="+v.Text)
			}
		}
		texts = append(texts, strings.Join(pairs, " "))
	}
	return texts
}

// TestListeners: which listeners Mosquitto 2.0 opens, as it does itself, and for whom.
func TestListeners(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		conf string
		want []string
	}{
		{"", []string{"kind=tcp address=127.0.0.1:1883 anonymous=yes"}},
		{"allow_anonymous false", []string{"kind=tcp address=127.0.0.1:1883 anonymous=no"}},
		{"port 1884", []string{"kind=tcp address=:1884 anonymous=no"}},
		{"bind_address 10.0.0.1\nport 1884\nallow_anonymous true", []string{"kind=tcp address=10.0.0.1:1884 anonymous=yes"}},
		{"listener 1885", []string{"kind=tcp address=:1885 anonymous=no"}},
		{"max_connections 100\nlistener 1885", []string{"kind=tcp address=:1883 max-connections=100 anonymous=no", "kind=tcp address=:1885 anonymous=no"}},
		{"listener 1885\nport 1886\nmax_connections -1", []string{"kind=tcp address=:1886 anonymous=no", "kind=tcp address=:1885 max-connections=0 anonymous=no"}},
		{"socket_domain ipv4\nlistener 1885 ::1", []string{"kind=tcp address=0.0.0.0:1883 anonymous=no", "kind=tcp address=[::1]:1885 anonymous=no"}},
		{"listener 0 /run/m.sock", []string{"kind=unix address=/run/m.sock anonymous=no"}},
		{"listener 8080\nprotocol websockets\nwebsockets_origin https://a.example\nlistener_allow_anonymous true", []string{"kind=ws address=:8080 origins=https://a.example anonymous=yes"}},
		{"per_listener_settings true\nallow_anonymous true\nlistener 1885\nlistener 1886\nallow_anonymous true", []string{"kind=tcp address=:1885 anonymous=no", "kind=tcp address=:1886 anonymous=yes"}},
		{"listener 1885\ninclude_dir inc\nmax_connections 4", []string{"kind=tcp address=:1883 max-connections=7 anonymous=no", "kind=tcp address=:1885 max-connections=4 anonymous=no"}},
		{
			"listener 8883\ncertfile /c\nkeyfile /k\ncafile /ca\nrequire_certificate true\nuse_identity_as_username true\ncrlfile /crl\ntls_version tlsv1.3",
			[]string{"kind=tls address=:8883 cert-file=/c key-file=/k min-tls-version=1.3 user-from=cn client-cert=required client-ca-file=/ca crl-file=/crl anonymous=no"},
		},
		{"listener 8883\ncertfile /c\nkeyfile /k\ncafile /ca\nprotocol websockets", []string{"kind=wss address=:8883 cert-file=/c key-file=/k origins=same anonymous=no"}},
		{"listener 1885\nlistener 8081\nprotocol http_api", []string{"kind=tcp address=:1885 anonymous=no"}},
	} {
		c := readConf(t, test.conf, "inc/a.conf", "max_connections 7\n", "inc/b", "listener 1")
		if got := listenerTexts(c); !slices.Equal(got, test.want) || c.Report.Count(Refused) > 0 {
			t.Errorf("%q:\n%s\nexpected\n%s\n%v", test.conf, strings.Join(got, "\n"), strings.Join(test.want, "\n"), c.Report.Findings)
		}
	}
}

// TestRefused: what has a meaning for the security that is not kept refuses the import.
func TestRefused(t *testing.T) {
	t.Parallel()
	for conf, want := range map[string]string{
		"listener 1883\nmount_point a/":                "part of the topics",
		"listener 1883\npsk_hint x":                    "pre-shared",
		"psk_file /x":                                  "pre-shared",
		"clientid_prefixes a":                          "not restricted",
		"listener 1883\nuse_username_as_clientid true": "write %u",
		"listener 8883\ncertfile /c\nkeyfile /k\nrequire_certificate true":      "no certificate would be good",
		"listener 8883\ncertfile /c\nkeyfile /k\nuse_identity_as_username true": "lets none in",
		"listener 8883\ncertfile /c\nkeyfile /k\nuse_subject_as_username true":  "common name",
		"listener 8883\ncertfile /c":                                            "no keyfile",
		"listener 8883\nrequire_certificate true":                               "no TLS",
		"listener 1883\nbind_interface eth0":                                    "interface",
		"listener 1883\nsocket_domain ipv6":                                     "IPv4 too",
		"listener 99999":                                                        "no port",
		"listener 1883\nproxy_protocol_v2 true":                                 "by hand",
		"plugin /usr/lib/own.so":                                                "not known",
		"auth_plugin /usr/lib/mosquitto_dynamic_security.so":                    "plugin_opt_config_file",
		"plugin_opt_x y":                                                        "no plugin before it",
		"allow_anonymous maybe":                                                 "true or false",
		"acl_file a\nacl_file b":                                                "says it already",
		"listner 1883":                                                          "did you mean listener?",
		"frobnicate 7":                                                          "no such option",
		"acl_file":                                                              "no value",
		"persistent_client_expiration 5x":                                       "one of h, d",
		"per_listener_settings true\nlistener 1\nacl_file a\nlistener 2\nacl_file b":                                 "the same file",
		"per_listener_settings true\nlistener 1\nacl_file a\nlistener 2":                                             "not all listeners",
		"per_listener_settings true\nlistener 1\npassword_file a\nlistener 2":                                        "not all listeners",
		"per_listener_settings true\nlistener 1\nplugin d-dynamic_security.so\nplugin_opt_config_file f\nlistener 2": "some listeners only",
		"plugin m_dynamic_security.so\nplugin_opt_config_file f\nacl_file a":                                         "beside",
	} {
		c := readConf(t, conf)
		found := slices.ContainsFunc(c.Report.Findings, func(f Finding) bool { return f.Outcome == Refused && strings.Contains(f.Why, want) })
		if !found {
			t.Errorf("%q: not refused with %q:\n%v", conf, want, c.Report.Findings)
		}
	}
}

// TestSameForAll: with per_listener_settings what is the same for all listeners is taken.
func TestSameForAll(t *testing.T) {
	t.Parallel()
	c := readConf(t, "per_listener_settings true\nlistener 1\nacl_file a\npassword_file p\nlistener 2\nacl_file a\npassword_file p\n")
	if c.Report.Count(Refused) > 0 || filepath.Base(c.ACL.Path) != "a" || filepath.Base(c.Passwords.Path) != "p" {
		t.Errorf("%+v, %v", c.ACL, c.Report.Findings)
	}
	c = readConf(t, "per_listener_settings true\nlistener 1\npassword_file p\nlistener 2\nallow_anonymous true\n")
	if c.Report.Count(Refused) > 0 || c.Report.Count(Changed) < 2 {
		t.Errorf("%v", c.Report.Findings)
	}
}

// TestSettings: numbers and words become those of our keys.
func TestSettings(t *testing.T) {
	t.Parallel()
	for conf, want := range map[string]string{
		"max_inflight_messages 0":                                  "mqtt.max-inflight=65535",
		"max_inflight_messages 40":                                 "mqtt.max-inflight=40",
		"max_queued_messages 0":                                    "mqtt.max-queued-messages=1000000000 mqtt.queue-policy=drop-newest",
		"message_size_limit 1000":                                  "mqtt.max-packet-size=66542",
		"max_packet_size 2000":                                     "mqtt.max-packet-size=2000",
		"persistent_client_expiration 2w":                          "mqtt.max-session-expiry=1209600",
		"persistent_client_expiration 1000y":                       "mqtt.max-session-expiry=4288896000",
		"sys_interval 0":                                           "mqtt.sys-interval=0s",
		"retain_available false":                                   "mqtt.retain-available=false",
		"log_type error\nlog_type warning":                         "log.level=warn",
		"log_type all":                                             "log.level=info",
		"listener 1\nmax_qos 1\nlistener 2":                        "mqtt.max-qos=2",
		"max_keepalive 0":                                          "mqtt.keep-alive=0",
		"global_max_connections -1":                                "mqtt.max-connections=10000000",
		"memory_limit 0":                                           "limits.memory=0",
		"autosave_interval 60":                                     "",
		"connection x\naddress y\nremote_username z\ntopic # both": "",
	} {
		c := readConf(t, conf)
		var got []string
		for _, v := range c.Settings[:len(c.Settings)-3] { // those that every one has
			got = append(got, v.Path+"="+v.Text)
		}
		if strings.Join(got, " ") != want || c.Report.Count(Refused) > 0 {
			t.Errorf("%q: %v, expected %s\n%v", conf, got, want, c.Report.Findings)
		}
	}
}

// TestPersistence: where the state is.
func TestPersistence(t *testing.T) {
	t.Parallel()
	c := readConf(t, "persistence true\npersistence_location /var/lib/mosquitto/\n")
	if c.Database.Path != "/var/lib/mosquitto/mosquitto.db" || c.Database.Line != 1 {
		t.Errorf("%+v", c.Database)
	}
	c = readConf(t, "persistence false\npersistence_location /var/lib/mosquitto/\nplugin /usr/lib/mosquitto_persist_sqlite.so\nplugin_opt_db_file /var/m.sqlite3\nplugin_opt_sync normal")
	if c.Database.Path != "" || c.SQLite.Path != "/var/m.sqlite3" || c.Report.Count(Refused) > 0 {
		t.Errorf("%+v %+v %v", c.Database, c.SQLite, c.Report.Findings)
	}
}

// TestEveryLineIsTold: each line that says something has a Finding, whatever it is, and no
// secret is in one.
func TestEveryLineIsTold(t *testing.T) {
	t.Parallel()
	for i := range options {
		name := strings.ReplaceAll(options[i].name, "*", "something")
		for _, value := range []string{"true", "false", "1", "17", "CANARY"} {
			conf := fmt.Sprintf("listener 1885\n%s %s\n", name, value)
			if options[i].name == "include_dir" {
				continue // its value has to be one
			}
			told := slices.ContainsFunc(readConf(t, conf).Report.Findings, func(f Finding) bool { return f.Line == 2 })
			// A plugin, and what names one file for all, is told with what is in the file.
			if !told && !slices.Contains([]string{"acl_file", "password_file"}, name) {
				t.Errorf("%q is not told", conf)
			}
		}
	}
	for _, secret := range secretOptions {
		for _, f := range readConf(t, secret+" CANARY").Report.Findings {
			if strings.Contains(f.What+f.Why, "CANARY") {
				t.Errorf("%v", f)
			}
		}
	}
}
