// Command paho311 is about numbered messages with paho.mqtt.golang, over MQTT 3.1.1:
//
//	paho311 publish|receive HOST PORT TOPIC QOS COUNT
package main

import (
	"fmt"
	"log"
	"os"
	"strconv"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

func main() {
	if len(os.Args) != 7 {
		log.Fatal("paho311 publish|receive HOST PORT TOPIC QOS COUNT")
	}
	role, broker, topic := os.Args[1], "tcp://"+os.Args[2]+":"+os.Args[3], os.Args[4]
	qos, err := strconv.Atoi(os.Args[5])
	if err != nil {
		log.Fatal(err)
	}
	count, err := strconv.Atoi(os.Args[6])
	if err != nil {
		log.Fatal(err)
	}
	all := make(chan struct{})
	seen := make(map[string]bool)
	opts := mqtt.NewClientOptions().AddBroker(broker).SetClientID(topic + "-" + role)
	opts.SetCleanSession(false)                   // true by default
	opts.SetMaxReconnectInterval(5 * time.Second) // by default it doubles up to 10 minutes
	opts.SetConnectRetry(true)                    // by default only a connection that was there is made again
	// By default the store has no order: after a new connection messages would be sent in any.
	store := mqtt.NewOrderedMemoryStore()
	opts.SetStore(store)
	// Before Connect: what a session that is resumed has waiting comes at once. In order, one at a time.
	opts.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) {
		number := string(m.Payload())
		fmt.Println("received", number)
		if seen[number] {
			return
		}
		if seen[number] = true; len(seen) == count {
			close(all)
		}
	})
	client := mqtt.NewClient(opts)
	if token := client.Connect(); token.Wait() && token.Error() != nil {
		log.Fatal(token.Error())
	}
	if role == "publish" {
		publish(client, topic, byte(qos), count)
		// The tokens of what is in flight are done when there is a new connection, before anything was acknowledged. Who ends
		// then loses messages: what is not acknowledged is in the store.
		for len(store.All()) > 0 {
			time.Sleep(50 * time.Millisecond)
		}
	} else {
		// With a session this is needed once only, and does no harm.
		if token := client.Subscribe(topic, byte(qos), nil); token.Wait() && token.Error() != nil {
			log.Fatal(token.Error())
		}
		fmt.Println("ready")
		<-all
	}
	fmt.Println("done")
	client.Disconnect(250)
}

// publish publishes without waiting for the acknowledgement of the last one.
func publish(client mqtt.Client, topic string, qos byte, count int) {
	var waiting sync.WaitGroup
	for n := 1; n <= count; n++ {
		token := client.Publish(topic, qos, false, strconv.Itoa(n))
		fmt.Println("sent", n)
		waiting.Go(func() {
			if token.Wait(); token.Error() != nil {
				fmt.Println("not acknowledged", n, token.Error())
				return
			}
			fmt.Println("acknowledged", n)
		})
		time.Sleep(time.Millisecond)
	}
	waiting.Wait()
}
