// What the program for Node and the page have in common: url is mqtt://, or ws:// in a browser.
export function numbers(mqtt, url, { role, topic, qos, count }, say) {
  const client = mqtt.connect(url, {
    protocolVersion: 5, // 4 by default, which is MQTT 3.1.1
    clientId: `${topic}-${role}`, // a random one by default: the session would never be found again
    clean: false, // true by default
    properties: { sessionExpiryInterval: 3600 }, // 0 by default: a session ends with its connection
    reconnectPeriod: 1000,
  });
  client.on("error", err => say(`error: ${err.message}`));

  const done = () => {
    say("done");
    client.end();
  };
  if (role === "publish") publishAll(client, topic, qos, count, say, done);
  else receiveAll(client, topic, qos, count, say, done);
  return client;
}

// PUBCOMP with 0x92 is no failure, though MQTT.js makes it one: the broker had the message, and PUBCOMP was lost.
const packetIdentifierNotFound = 0x92;

function publishAll(client, topic, qos, count, say, done) {
  let number = 0;
  let acknowledged = 0;
  const timer = setInterval(() => {
    const n = ++number;
    if (n === count) clearInterval(timer);
    say(`sent ${n}`);
    // Called when the acknowledgement has come, however often the connection was lost before.
    client.publish(topic, String(n), { qos }, err => {
      if (err && err.code !== packetIdentifierNotFound) return say(`not acknowledged ${n}: ${err.message}`);
      say(`acknowledged ${n}`);
      if (++acknowledged === count) done();
    });
  }, 2);
}

function receiveAll(client, topic, qos, count, say, done) {
  const received = new Set();
  // Before the connection is there: the first messages of a session that is resumed come at once.
  client.on("message", (_, payload) => {
    received.add(String(payload));
    say(`received ${payload}`);
    if (received.size === count) done();
  });
  client.on("connect", ack => {
    if (!ack.sessionPresent) client.subscribe(topic, { qos }, err => say(err ? `subscribe: ${err.message}` : "ready"));
  });
}
