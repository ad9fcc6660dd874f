package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/x0a1b/promptmq/cmd/promptmq/client"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/topics"
)

// exitTimeout is that of -W, as with Mosquitto's tools.
const exitTimeout = 27

var errTimeout = errors.New("timed out")

// A word is the value of a flag as it stands, also if it begins with a hyphen.
type word struct {
	set  bool
	text string
}

// Decode implements kong.MapperValue.
func (w *word) Decode(ctx *kong.DecodeContext) error {
	text, err := popWord(ctx)
	*w = word{true, text}
	return err
}

// words are those of a flag that is given several times.
type words []string

// Decode implements kong.MapperValue.
func (w *words) Decode(ctx *kong.DecodeContext) error {
	text, err := popWord(ctx)
	*w = append(*w, text)
	return err
}

func popWord(ctx *kong.DecodeContext) (string, error) {
	token := ctx.Scan.Pop()
	if token.IsEOL() {
		return "", errors.New("a value is missing")
	}
	return fmt.Sprint(token.Value), nil
}

// propertyWords are the three or four words behind each -D.
type propertyWords []client.Property

// Decode implements kong.MapperValue.
func (l *propertyWords) Decode(ctx *kong.DecodeContext) (err error) {
	var p client.Property
	into := []*string{&p.Packet, &p.Identifier, &p.Value}
	for i := 0; i < len(into) && err == nil; i++ {
		*into[i], err = popWord(ctx)
		if i == 1 && strings.EqualFold(p.Identifier, "user-property") {
			into = []*string{&p.Packet, &p.Identifier, &p.Name, &p.Value}
		}
	}
	if err != nil {
		return errors.New("-D PACKET IDENTIFIER VALUE, or -D PACKET user-property NAME VALUE")
	}
	*l = append(*l, p)
	return nil
}

// brokerFlags say which broker, and how to connect to it: as with Mosquitto's tools where they
// have them.
type brokerFlags struct {
	Host         string        `short:"H" default:"localhost" placeholder:"HOST" help:"Name or address of the broker; -h too. Default: localhost."`
	Port         uint16        `short:"p" placeholder:"PORT" help:"Port. Default: 1883, with TLS 8883, with WebSocket 80 and 443."`
	URL          string        `name:"broker" short:"L" placeholder:"URL" help:"Broker, user and topic at once: mqtt[s]://[USER[:PASSWORD]@]HOST[:PORT]/TOPIC; with ws[s]:// the path is that of the WebSocket."`
	User         word          `name:"username" short:"u" placeholder:"NAME" help:"User name."`
	Password     word          `name:"pw" short:"P" placeholder:"PASSWORD" help:"Password, which others on the machine can see while the command runs: rather use --password-file."`
	PasswordFile string        `placeholder:"FILE" help:"File with the password; -: it is asked for."`
	CAFile       string        `name:"cafile" placeholder:"FILE" help:"Authorities of the broker's certificate, PEM; makes it TLS."`
	Cert         string        `placeholder:"FILE" help:"Certificate of this client, PEM."`
	Key          string        `placeholder:"FILE" help:"Its key, PEM."`
	TLS          bool          `name:"tls-use-os-certs" help:"TLS with the authorities of the system."`
	Insecure     bool          `help:"Do not check the broker's certificate: anybody may be the broker then."`
	Unix         string        `placeholder:"PATH" help:"Unix socket of the broker, in place of host and port."`
	WS           bool          `name:"ws" help:"MQTT over WebSocket, at the path /mqtt."`
	Version      string        `name:"protocol-version" short:"V" default:"5" placeholder:"V" help:"5, 311 or 31; mqttv5, mqttv311 and mqttv31 too. Default: 5."`
	ID           word          `short:"i" placeholder:"ID" help:"Client identifier. Default: none, and the broker gives one."`
	IDPrefix     string        `short:"I" placeholder:"PREFIX" help:"Client identifier: this with the number of the process behind it."`
	KeepAlive    uint16        `short:"k" default:"60" placeholder:"SECONDS" help:"Keep Alive; 0: none. Default: 60."`
	Keep         bool          `name:"disable-clean-session" short:"c" help:"Resume the session of the client identifier, and leave it at the broker."`
	Expiry       string        `name:"session-expiry-interval" short:"x" placeholder:"SECONDS" help:"How long the session stays after the connection: up to 4294967294, or -1 for ever. Default: -1 with -c, otherwise 0."`
	Properties   propertyWords `name:"property" short:"D" placeholder:"PACKET" help:"Property of MQTT 5: PACKET IDENTIFIER VALUE, such as publish content-type text/plain, or PACKET user-property NAME VALUE. PACKET is connect, publish, subscribe, disconnect or will."`
	Debug        bool          `short:"d" help:"Say on standard error which packets come and go."`
	Quiet        bool          `help:"Say nothing of what goes wrong; the exit code does."`
	WillTopic    word          `placeholder:"TOPIC" help:"Topic of the Will, which the broker publishes if the connection breaks."`
	WillPayload  word          `placeholder:"TEXT" help:"Payload of the Will."`
	WillQoS      uint8         `name:"will-qos" placeholder:"QOS" help:"QoS of the Will."`
	WillRetain   bool          `help:"The Will is retained."`

	version codec.Version
	topic   string // of the URL
	path    string // of the WebSocket
	secure  bool
	target  client.Properties
	publish codec.Publish
	leave   codec.Disconnect
	connect codec.Connect
}

var versions = map[string]codec.Version{"5": codec.Version5, "mqttv5": codec.Version5, "311": codec.Version311, "mqttv311": codec.Version311,
	"31": codec.Version31, "mqttv31": codec.Version31}

// check looks at the flags that all three have, and makes of them what a Session needs.
func (b *brokerFlags) check() error {
	var known bool
	b.version, known = versions[strings.ToLower(b.Version)]
	b.secure = b.CAFile != "" || b.Cert != "" || b.TLS || b.Insecure
	if b.WS {
		b.path = "/mqtt"
	}
	if err := b.readURL(); err != nil {
		return err
	}
	v5 := b.version == codec.Version5
	switch {
	case !known:
		return fmt.Errorf("-V is 5, 311 or 31, not %q", b.Version)
	case len(b.Properties) > 0 && !v5:
		return errors.New("-D is of MQTT 5, and -V says another version")
	case b.Expiry != "" && !v5:
		return errors.New("-x is of MQTT 5, and -V says another version")
	case b.Unix != "" && (b.URL != "" || b.WS || b.secure || b.Port != 0):
		return errors.New("--unix is a socket on this machine: without -L, -p, --ws and TLS")
	case (b.Cert == "") != (b.Key == ""):
		return errors.New("--cert and --key go together")
	case b.ID.set && b.IDPrefix != "":
		return errors.New("-i and -I are two ways to say the client identifier: use one")
	case b.Keep && b.ID.text == "" && b.IDPrefix == "":
		return errors.New("-c needs a client identifier: -i ID")
	case b.Password.set && b.PasswordFile != "":
		return errors.New("-P and --password-file are two ways to say the password: use one")
	case (b.Password.set || b.PasswordFile != "") && !b.User.set && !v5:
		return errors.New("a password needs a user name before MQTT 5: -u NAME")
	case b.WillTopic.text == "" && (b.WillPayload.set || b.WillQoS > 0 || b.WillRetain):
		return errors.New("a Will needs --will-topic")
	case b.WillQoS > 2:
		return fmt.Errorf("--will-qos is 0, 1 or 2, not %d", b.WillQoS)
	}
	if b.WillTopic.set {
		if err := checkTopic("--will-topic", b.WillTopic.text); err != nil {
			return err
		}
	}
	return b.makeConnect()
}

func checkTopic(flag, name string) error {
	if err := topics.ValidName([]byte(name), 0); err != nil {
		return fmt.Errorf("%s %q: a topic to publish to has no wildcard, and from 1 to 65,535 bytes of UTF-8: %w", flag, name, err)
	}
	return nil
}

// schemes of -L: whether it is secure, and whether a WebSocket.
var schemes = map[string][2]bool{"mqtt": {false, false}, "mqtts": {true, false}, "ws": {false, true}, "wss": {true, true}}

func (b *brokerFlags) readURL() error {
	if b.URL == "" {
		return nil
	}
	u, err := url.Parse(b.URL)
	if err != nil {
		return errors.New("-L: not a URL such as mqtts://user@host/topic") // the error of url has the password in it
	}
	how, known := schemes[u.Scheme]
	if !known || u.Hostname() == "" {
		return errors.New("-L is mqtt://, mqtts://, ws:// or wss:// and a host")
	}
	b.Host, b.secure = u.Hostname(), b.secure || how[0]
	if how[1] {
		b.path = cmp.Or(u.EscapedPath(), "/")
	} else {
		b.topic = strings.TrimPrefix(u.Path, "/")
	}
	if u.Port() != "" {
		n, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil {
			return fmt.Errorf("-L: a port is from 1 to 65535, not %q", u.Port())
		}
		b.Port = uint16(n)
	}
	if u.User != nil {
		b.User = word{true, u.User.Username()}
		if password, has := u.User.Password(); has {
			b.Password = word{true, password}
		}
	}
	return nil
}

// makeConnect makes CONNECT and the rest of what -D may speak of.
func (b *brokerFlags) makeConnect() error {
	c := &b.connect
	*c = codec.Connect{Version: b.version, CleanStart: !b.Keep, KeepAliveSeconds: b.KeepAlive, ReceiveMaximum: 65535, RequestProblemInformation: true}
	if c.ClientID = codec.View(b.ID.text); b.IDPrefix != "" {
		c.ClientID = fmt.Appendf(nil, "%s%d", b.IDPrefix, os.Getpid())
	}
	if len(c.ClientID) == 0 && b.version == codec.Version31 {
		c.ClientID = fmt.Appendf(nil, "promptmq-%d", os.Getpid()) // which 3.1 wants
	}
	if b.Keep && b.version == codec.Version5 {
		c.SessionExpirySeconds = 1<<32 - 1
	}
	switch b.Expiry {
	case "":
	case "-1", "∞":
		c.SessionExpirySeconds = 1<<32 - 1
	default:
		n, err := strconv.ParseUint(b.Expiry, 10, 32)
		if err != nil {
			return fmt.Errorf("-x is a number of seconds up to 4294967295, or -1, not %q", b.Expiry)
		}
		c.SessionExpirySeconds = uint32(n)
	}
	c.HasSessionExpiry = c.SessionExpirySeconds > 0
	c.HasUserName, c.UserName = b.User.set, codec.View(b.User.text)
	if b.WillTopic.set {
		c.HasWill = true
		c.Will = codec.Will{Topic: codec.View(b.WillTopic.text), Payload: codec.View(b.WillPayload.text), QoS: codec.QoS(b.WillQoS), Retain: b.WillRetain}
	}
	b.target = client.Properties{Connect: c, Publish: &b.publish, Disconnect: &b.leave}
	return b.target.Set(b.Properties)
}

// password reads the file of it, or asks.
func (b *brokerFlags) password() ([]byte, error) {
	if b.PasswordFile != "-" {
		return (&passwordSource{File: b.PasswordFile}).read()
	}
	text, err := askPassword("Password: ")
	if err != nil {
		return nil, err
	}
	return text, refusePassword(text)
}

// options makes what is common of the options of a Session. Its functions are still to be set.
func (b *brokerFlags) options() (client.Options, error) {
	switch {
	case b.PasswordFile != "":
		text, err := b.password()
		if err != nil {
			return client.Options{}, err
		}
		b.connect.HasPassword, b.connect.Password = true, text
	case b.Password.set:
		b.connect.HasPassword, b.connect.Password = true, codec.View(b.Password.text)
		b.say("a password on the command line can be seen by others on the machine while it runs: rather use --password-file")
	}
	tlsConfig, err := b.tls()
	if err != nil {
		return client.Options{}, err
	}
	port := b.Port
	if port == 0 {
		ports := [...]uint16{1883, 8883, 80, 443}
		i := 0
		if b.secure {
			i++
		}
		if b.path != "" {
			i += 2
		}
		port = ports[i]
	}
	dial := client.Dialer("tcp", net.JoinHostPort(b.Host, strconv.Itoa(int(port))), b.path, tlsConfig)
	if b.Unix != "" {
		dial = client.Dialer("unix", b.Unix, "", nil)
	}
	debug := func(string, ...any) {}
	if b.Debug {
		debug = func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	}
	return client.Options{
		Dial:    dial,
		Version: b.version, Connect: b.connect, Disconnect: b.leave, Debug: debug,
		SubscriptionID: b.target.SubscriptionID, SubscribeUser: b.target.SubscribeUser,
		Lost: func(err error, again time.Duration) {
			b.say("%s; again in %v", escaped(err.Error()), again.Round(100*time.Millisecond))
		},
	}, nil
}

func (b *brokerFlags) tls() (*tls.Config, error) {
	if !b.secure {
		return nil, nil
	}
	c := &tls.Config{ServerName: b.Host, InsecureSkipVerify: b.Insecure, MinVersion: tls.VersionTLS12}
	if b.CAFile != "" {
		text, err := os.ReadFile(b.CAFile)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("--cafile %s: no certificate in it", b.CAFile)
		}
	}
	if b.Cert != "" {
		pair, err := tls.LoadX509KeyPair(b.Cert, b.Key)
		if err != nil {
			return nil, fmt.Errorf("--cert and --key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// say writes a line on standard error.
func (b *brokerFlags) say(format string, args ...any) {
	if !b.Quiet {
		fmt.Fprintf(os.Stderr, "promptmq: "+format+"\n", args...)
	}
}

// end is how the command ends with err.
func (b *brokerFlags) end(err error) error {
	if err != nil && b.Quiet && !errors.Is(err, errTimeout) {
		return errLogged
	}
	return err
}

// untilSignal returns a context that ends at SIGINT or SIGTERM.
func untilSignal() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}

// clientCommands are those of which -h is the host.
var clientCommands = []string{"pub", "sub", "rr"}

// hostFlag makes -h the host in the commands that have one, as in Mosquitto's tools, and help
// elsewhere.
func hostFlag(parser *kong.Kong, args []string) {
	if len(args) == 0 || !slices.Contains(clientCommands, args[0]) {
		return
	}
	parser.Model.HelpFlag.Short = 0
	for _, node := range parser.Model.Children {
		for _, f := range node.Flags {
			if f.Name == "host" && node.Name == args[0] {
				f.Short = 'h'
			}
		}
	}
}
