// Command paho5 is about numbered messages with paho.golang (autopaho), over MQTT 5:
//
//	paho5 publish|receive HOST PORT TOPIC QOS COUNT
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
	"github.com/eclipse/paho.golang/paho/session/state"
)

func main() {
	if len(os.Args) != 7 {
		log.Fatal("paho5 publish|receive HOST PORT TOPIC QOS COUNT")
	}
	role, broker, topic := os.Args[1], &url.URL{Scheme: "mqtt", Host: os.Args[2] + ":" + os.Args[3]}, os.Args[4]
	qos, err := strconv.Atoi(os.Args[5])
	if err != nil {
		log.Fatal(err)
	}
	count, err := strconv.Atoi(os.Args[6])
	if err != nil {
		log.Fatal(err)
	}
	received := newNumbers(count)
	config := autopaho.ClientConfig{
		ServerUrls: []*url.URL{broker},
		KeepAlive:  30,
		// false and 0 are what counts if nothing is said for the two: then a session ends with its connection.
		CleanStartOnInitialConnection: false,
		SessionExpiryInterval:         3600,
		ReconnectBackoff:              autopaho.NewConstantBackoff(time.Second), // 10 s between tries by default
		ClientConfig: paho.ClientConfig{
			ClientID: topic + "-" + role,
			Session:  state.NewInMemory(), // in a file, messages in flight outlive this program too
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
				received.add(string(p.Packet.Payload))
				return true, nil
			}},
		},
	}
	if role == "receive" {
		config.OnConnectionUp = func(cm *autopaho.ConnectionManager, ack *paho.Connack) {
			if ack.SessionPresent {
				return // it still has the subscription
			}
			if _, err := cm.Subscribe(context.Background(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: topic, QoS: byte(qos)}}}); err != nil {
				fmt.Println("subscribe:", err)
				return
			}
			fmt.Println("ready")
		}
	}
	ctx := context.Background()
	cm, err := autopaho.NewConnection(ctx, config)
	if err != nil {
		log.Fatal(err)
	}
	if role == "publish" {
		publish(ctx, cm, topic, byte(qos), count)
	} else {
		<-received.all
	}
	fmt.Println("done")
	if err := cm.Disconnect(ctx); err != nil {
		log.Fatal(err)
	}
}

// publish publishes the numbers one by one; each waits for its acknowledgement.
func publish(ctx context.Context, cm *autopaho.ConnectionManager, topic string, qos byte, count int) {
	for n := 1; n <= count; n++ {
		fmt.Println("sent", n)
		for {
			if err := cm.AwaitConnection(ctx); err != nil {
				log.Fatal(err)
			}
			_, err := cm.Publish(ctx, &paho.Publish{Topic: topic, QoS: qos, Payload: []byte(strconv.Itoa(n))})
			if err == nil {
				fmt.Println("acknowledged", n)
				break
			}
			if errors.Is(err, paho.ErrNetworkErrorAfterStored) {
				fmt.Println("stored", n) // the session sends it again when there is a connection: not another time from here
				break
			}
			time.Sleep(100 * time.Millisecond) // it was not sent
		}
		time.Sleep(time.Millisecond)
	}
}

// numbers tells when all of them have come.
type numbers struct {
	mu   sync.Mutex
	seen map[string]bool
	want int
	all  chan struct{}
}

func newNumbers(want int) *numbers {
	return &numbers{seen: make(map[string]bool), want: want, all: make(chan struct{})}
}

func (n *numbers) add(number string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fmt.Println("received", number)
	if n.seen[number] {
		return
	}
	n.seen[number] = true
	if len(n.seen) == n.want {
		close(n.all)
	}
}
