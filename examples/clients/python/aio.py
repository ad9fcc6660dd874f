"""Numbered messages with aiomqtt, over MQTT 5.

    aio.py publish|receive HOST PORT TOPIC QOS COUNT

aiomqtt does not connect again by itself: the loop around "async with" does.
"""
import asyncio
import sys

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

role, host, port, topic, qos, count = sys.argv[1:]
port, qos, count = int(port), int(qos), int(count)


def say(*words):
    print(*words, flush=True)


async def publish(client, state):
    while state["number"] <= count:
        say("sent", state["number"])
        # Waits for the acknowledgement. Where the connection ends before it, nobody knows
        # whether the message has come: it is published again, and may come twice.
        await client.publish(topic, str(state["number"]), qos)
        say("acknowledged", state["number"])
        state["number"] += 1


async def receive(client, state):
    await client.subscribe(topic, qos)
    say("ready")
    async for message in client.messages:
        number = int(message.payload)
        state["received"].add(number)
        say("received", number)
        if len(state["received"]) == count:
            return


async def main():
    state = {"number": 1, "received": set()}
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 3600
    work = publish if role == "publish" else receive
    while True:
        # A new Client each time: one that is used again sends by itself what it had in flight,
        # while this program publishes it once more.
        client = aiomqtt.Client(host, port, identifier=f"{topic}-{role}", protocol=aiomqtt.ProtocolVersion.V5,
                                clean_start=False, properties=properties)
        try:
            async with client:
                await work(client, state)
                say("done")
                return
        except aiomqtt.MqttError as error:
            say("lost:", error)
            await asyncio.sleep(1)


asyncio.run(main())
