package link

import "time"

// TCP is MQTT over TCP.
var TCP = &Kind{Name: "mqtt", Key: "server.bind", serve: serveTCP, foreign: foreignToMQTT, watches: true}

// serveTCP gives each socket a goroutine.
func serveTCP(l *Listener, ln *acceptor) {
	for {
		s, err := ln.accept()
		if err != nil {
			return
		}
		go l.network.c.Serve(Accepted{Transport: newTransport(s), At: time.Unix(0, s.accepted)})
	}
}
