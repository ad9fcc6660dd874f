package link

import "time"

// TCP is MQTT over TCP.
var TCP = &Kind{Name: "mqtt", Key: "server.bind", serve: serveTCP, foreign: foreignToMQTT, watches: true}

// serveTCP hands on each socket.
func serveTCP(l *Listener, ln *acceptor) {
	for {
		s, err := ln.accept()
		if err != nil {
			return
		}
		l.network.c.Serve(Accepted{Transport: newTransport(s), At: time.Unix(0, s.accepted)})
	}
}
