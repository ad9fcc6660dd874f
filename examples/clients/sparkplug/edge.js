// A Sparkplug B Edge Node that measures numbers, with MQTT.js:
//
//     node edge.js HOST PORT GROUP NODE COUNT
//
// Births and deaths are told apart by bdSeq, which counts connections, and what comes between them by seq, which
// counts messages from 0 to 255 and again. Data are sent with QoS 0, as Sparkplug has it: what is measured while
// there is no connection is kept here, and sent later as historical.
import mqtt from "mqtt";
import sparkplug from "sparkplug-payload";

const { encodePayload, decodePayload } = sparkplug.get("spBv1.0");
const [host, port, group, node, count] = process.argv.slice(2);
const topic = type => `spBv1.0/${group}/${type}/${node}`;
const now = () => Date.now();

let bdSeq = 0;
let born = false;
let seq = 0;
let number = 0;
const kept = []; // what was measured without a connection

const death = () => Buffer.from(encodePayload({ timestamp: now(), metrics: [{ name: "bdSeq", type: "Int64", value: bdSeq }] }));

const client = mqtt.connect(`mqtt://${host}:${port}`, {
  protocolVersion: 4,
  clientId: `${group}-${node}`,
  clean: true, // Sparkplug asks for it: a birth says all that there is to know
  reconnectPeriod: 1000,
  queueQoSZero: false, // nothing may be sent before the birth
  will: { topic: topic("NDEATH"), payload: death(), qos: 1, retain: false },
});
client.on("error", err => console.log(`error: ${err.message}`));

client.on("connect", () => {
  client.subscribe(topic("NCMD"), { qos: 1 }, err => {
    if (!err) birth();
  });
});

// The next connection is another life, and its Will says so.
client.on("close", () => {
  born = false;
  bdSeq = (bdSeq + 1) % 256;
  client.options.will.payload = death();
});

function birth() {
  seq = 0;
  born = true;
  send("NBIRTH", [
    { name: "bdSeq", type: "Int64", value: bdSeq },
    { name: "Node Control/Rebirth", type: "Boolean", value: false },
    { name: "number", type: "Int32", value: number },
  ]);
  for (const metric of kept.splice(0)) send("NDATA", [{ ...metric, isHistorical: true }]);
}

function send(type, metrics) {
  client.publish(topic(type), Buffer.from(encodePayload({ timestamp: now(), seq, metrics })), { qos: 0 });
  seq = (seq + 1) % 256;
}

client.on("message", (name, payload) => {
  const metrics = decodePayload(payload).metrics || [];
  if (metrics.some(m => m.name === "Node Control/Rebirth" && m.value === true)) birth();
});

const timer = setInterval(() => {
  const metric = { name: "number", type: "Int32", value: ++number, timestamp: now() };
  console.log(`sent ${number}`);
  if (born && client.connected) send("NDATA", [metric]);
  else kept.push(metric);
  if (number === Number(count)) {
    clearInterval(timer);
    end();
  }
}, 2);

// An end on purpose has no Will: the death is published.
function end() {
  if (!born || !client.connected) return setTimeout(end, 100);
  client.publish(topic("NDEATH"), death(), { qos: 1 }, () => {
    console.log("done");
    client.end(false, () => process.exit(0));
  });
}
