"""Numbered messages with paho-mqtt 2, over MQTT 5.

    paho2.py publish|receive HOST PORT TOPIC QOS COUNT

Neither side has to be started again when the broker was away.
"""
import collections
import sys
import time

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

role, host, port, topic, qos, count = sys.argv[1:]
port, qos, count = int(port), int(qos), int(count)


def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\n")  # one write: two threads say something
    sys.stdout.flush()


def connected(client, userdata, flags, reason, properties):
    if reason.is_failure:
        say("refused:", reason)
    elif role == "receive" and not flags.session_present:
        client.subscribe(topic, qos)  # a session that is there still has it
    elif role == "receive":
        say("ready")


acknowledged, received = collections.deque(), set()


def published(client, userdata, mid, reason, properties):
    if not reason.is_failure:
        acknowledged.append(mid)


def message(client, userdata, m):
    number = int(m.payload)
    received.add(number)
    say("received", number)


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"{topic}-{role}", protocol=mqtt.MQTTv5)
client.on_connect, client.on_publish, client.on_message = connected, published, message
client.on_subscribe = lambda *args: say("ready")
client.reconnect_delay_set(min_delay=1, max_delay=5)  # by default it doubles up to 120 s

# Without the two the broker forgets the session: by default Clean Start is set at the
# first connect, and a session ends with its connection.
properties = Properties(PacketTypes.CONNECT)
properties.SessionExpiryInterval = 3600
client.connect(host, port, clean_start=False, properties=properties)
client.loop_start()

waiting = {}  # the numbers of messages, by Packet Identifier


def report():
    while acknowledged:
        say("acknowledged", waiting.pop(acknowledged.popleft()))


if role == "publish":
    for number in range(1, count + 1):
        # While there is no connection this says MQTT_ERR_NO_CONN, and the message waits all the same.
        waiting[client.publish(topic, str(number), qos).mid] = number
        say("sent", number)
        report()
        time.sleep(0.001)
while waiting if role == "publish" else len(received) < count:
    time.sleep(0.05)
    report()
say("done")
client.disconnect()
client.loop_stop()
