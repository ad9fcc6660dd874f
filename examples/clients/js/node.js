// Numbered messages with MQTT.js in Node, over MQTT 5.
//
//     node node.js publish|receive HOST PORT TOPIC QOS COUNT
import mqtt from "mqtt";
import { numbers } from "./numbers.js";

const [role, host, port, topic, qos, count] = process.argv.slice(2);
const client = numbers(mqtt, `mqtt://${host}:${port}`, { role, topic, qos: Number(qos), count: Number(count) }, console.log);
client.on("end", () => process.exit(0));
