// A Sparkplug B Host Application that follows one Edge Node, with MQTT.js:
//
//     node host.js HOST PORT GROUP NODE COUNT
//
// Where a message is missing, or data come of a node whose birth it has not seen, it asks for another birth.
import mqtt from "mqtt";
import sparkplug from "sparkplug-payload";

const { encodePayload, decodePayload } = sparkplug.get("spBv1.0");
const [host, port, group, node, count] = process.argv.slice(2);
const client = mqtt.connect(`mqtt://${host}:${port}`, { protocolVersion: 4, clientId: `${group}-host`, clean: true, reconnectPeriod: 1000 });
client.on("error", err => console.log(`error: ${err.message}`));
client.on("connect", () => client.subscribe(`spBv1.0/${group}/+/${node}`, { qos: 1 }, err => console.log(err ? `error: ${err.message}` : "ready")));

let next; // seq of the next message; undefined: there is no birth
let bdSeq; // of the last birth
let asked = false;

client.on("message", (name, bytes) => {
  const type = name.split("/")[2];
  if (type === "NCMD") return;
  const payload = decodePayload(new Uint8Array(bytes));
  const value = metric => Number((payload.metrics || []).find(m => m.name === metric)?.value);
  if (type === "NDEATH") {
    console.log(`death ${value("bdSeq")}`);
    if (value("bdSeq") === bdSeq) next = undefined; // else it is that of an earlier life, and late
    return;
  }
  if (type === "NBIRTH") {
    bdSeq = value("bdSeq");
    asked = false;
    console.log(`birth ${bdSeq}`);
  } else if (Number(payload.seq) !== next) {
    if (next !== undefined) console.log(`gap ${payload.seq}`);
    next = undefined;
    if (!asked) {
      asked = true;
      const rebirth = { timestamp: Date.now(), metrics: [{ name: "Node Control/Rebirth", type: "Boolean", value: true }] };
      client.publish(`spBv1.0/${group}/NCMD/${node}`, Buffer.from(encodePayload(rebirth)), { qos: 1 });
    }
    return; // without a birth nobody knows what the metrics are
  }
  next = (Number(payload.seq) + 1) % 256;
  console.log(`received ${value("number")}`);
  if (value("number") === Number(count)) console.log("done");
});
