// The page of one client.

import {call} from "./api.js";
import {ask, attempt} from "./dialog.js";
import {button, choice, facts, field, h, link, name, section, shown, to} from "./dom.js";
import {ago, ahead, bytes, count, expiry, moment, plural} from "./format.js";
import {dropColumns} from "./drops.js";
import {list} from "./list.js";
import {table} from "./table.js";

export function client(view) {
  const id = view.parts[1];
  const path = {id};
  view.heading(shown(id), name(id));
  const about = h("div", {}), tools = h("div", {class: "tools"});
  const subscribed = table({caption: "Subscriptions", key: s => s.filter, columns: [
    {head: "Topic Filter", same: s => s.filter, cell: s => link(to(["subscriptions"], {filter: s.filter}), name(s.filter))},
    {head: "QoS", number: true, cell: s => String(s.qos)},
    {head: "Options", minor: true, cell: s => options(s)},
    ...(view.admin ? [{head: "", same: s => s.filter, cell: s => button("Remove", () => unsubscribe(id, s.filter, again), {"aria-label": "Remove " + shown(s.filter)})}] : []),
  ]});
  const drops = table({caption: "Last drops", key: d => d.at + d.topic + d.reason, columns: dropColumns(false)});
  const more = h("p", {class: "quiet"});
  const main = h("div", {});
  const again = view.show(main, () => call("GET /clients/{id}", {path, signal: view.signal}), c => {
    about.replaceChildren(...describe(c));
    tools.replaceChildren(...actions(view, c, () => again()));
    subscribed.show(c.subscribed ?? [], "It has subscribed to nothing.");
    more.textContent = c.subscriptions > (c.subscribed ?? []).length ? `${plural((c.subscribed ?? []).length, "subscription")} of ${count(c.subscriptions)} are shown.` : "";
    drops.show(c.last_drops ?? [], "No message for it was dropped lately.");
    return about.isConnected ? undefined : [tools, about,
      section("Subscriptions", view.admin ? adder(id, () => again()) : null, subscribed.node, more),
      section("Queue and in flight", queue(view, path)), section("Last drops", drops.node)];
  }, 5);
  return main;
}

const options = s => [s.no_local && "no local", s.retain_as_published && "retain as published",
  ["", "retained if new", "no retained"][s.retain_handling ?? 0], s.identifier && "identifier " + s.identifier].filter(Boolean).join(", ") || "–";

const when = time => (time ? `${moment(time)} (${ago(time)})` : null);

function describe(c) {
  const state = h("span", {class: "state " + (c.connected ? "good" : "off")}, c.connected ? "connected" : "away");
  return [
    h("div", {class: "cards"},
      h("section", {}, h("h2", {}, "Connection"), facts([
        ["State", state],
        ["Since", when(c.connected ? c.connected_at : c.disconnected_at)],
        ["User", name(c.user, "anonymous")], ["Logged in by", c.login_method], ["Groups", c.groups?.length ? c.groups.map(g => [name(g), " "]) : null],
        ["Address", c.address && name(c.address)], ["Listener", c.listener && name(c.listener)], ["Protocol", c.protocol && "MQTT " + c.protocol],
        ["Keep alive", c.connected ? (c.keep_alive_seconds ? count(c.keep_alive_seconds) + " s" : "none") : null],
        ["Largest packet", c.maximum_packet_size ? bytes(c.maximum_packet_size) : null], ["Will", c.has_will ? (c.will_topic ? name(c.will_topic) : "yes") : null],
      ])),
      h("section", {}, h("h2", {}, "Session"), facts([
        ["Kind", c.durable ? "durable, on disk" : "ends with its connection"],
        ["Ends", c.durable ? expiry(c.session_expiry_seconds) : null], ["Ends then", c.expires_at ? `${moment(c.expires_at)} (${ahead(c.expires_at)})` : null],
        ["Subscriptions", count(c.subscriptions)], ["Queued", `${plural(c.queued, "message")}, ${bytes(c.queued_bytes)}`],
        ["In flight", count(c.in_flight) + (c.receive_maximum ? ` of ${count(c.receive_maximum)}` : "")], ["Dropped", count(c.dropped)],
      ])),
      h("section", {}, h("h2", {}, "Traffic of this connection"), facts([
        ["Messages in", count(c.messages_in)], ["Messages out", count(c.messages_out)], ["Bytes in", bytes(c.bytes_in)],
        ["Bytes out", bytes(c.bytes_out)], ["Waits for its socket", bytes(c.waiting_bytes)],
      ]))),
  ];
}

// actions are the buttons of those who may change something. They stay the same elements as
// long as they do the same, so that the focus stays.
function actions(view, c, again) {
  if (!view.admin) return [];
  const kept = view.kept ??= {
    disconnect: button("Disconnect…", () => disconnect(c.id, again), {class: "danger"}),
    end: button("End session…", () => end(c.id, again), {class: "danger"}),
  };
  kept.disconnect.disabled = !c.connected;
  return [kept.disconnect, kept.end];
}

const disconnect = async (id, again) => {
  const reason = h("input", {name: "reason", maxlength: 200, placeholder: "optional, told to MQTT 5 clients"});
  if (await ask({
    title: "Disconnect " + shown(id), action: "Disconnect", danger: true,
    content: h("div", {}, h("p", {}, "Its connection is closed. The client may come again at once; to keep it away, change users or rules."), field("Reason", reason)),
    run: () => call("POST /clients/{id}/disconnect", {path: {id}, body: {reason: reason.value}}),
  })) await again();
};

const end = async (id, again) => {
  if (await ask({
    title: "End the session of " + shown(id), action: "End session", danger: true,
    content: h("p", {}, "Its subscriptions and all messages that wait for it are deleted. A connection is closed."),
    run: () => call("DELETE /sessions/{id}", {path: {id}}),
  })) {
    location.assign("#/clients");
    await again();
  }
};

async function unsubscribe(id, filter, again) {
  if (await ask({
    title: "Remove a subscription", action: "Remove", danger: true,
    content: h("p", {}, name(id), " gets no more messages for ", name(filter), "."),
    run: () => call("DELETE /clients/{id}/subscriptions", {path: {id}, query: {filter}}),
  })) await again();
}

function adder(id, again) {
  const filter = h("input", {name: "filter", required: true, size: 30, spellcheck: "false", autocapitalize: "none", placeholder: "sensors/+/temperature"});
  const qos = choice([["0", "0"], ["1", "1"], ["2", "2"]], "1", {name: "qos"});
  return h("form", {class: "row", onsubmit: async event => {
    event.preventDefault();
    if (await attempt(() => call("PUT /clients/{id}/subscriptions", {path: {id}, body: {filter: filter.value, qos: Number(qos.value)}}), "Subscribed.")) {
      filter.value = "";
      await again();
    }
  }}, field("Topic Filter", filter), field("QoS", qos), h("button", {type: "submit"}, "Subscribe"));
}

function queue(view, path) {
  return list(view, {
    operation: "GET /clients/{id}/queue", path, caption: "Messages that wait for it", key: m => m.position, seconds: 5, empty: "No message waits for it.",
    columns: [
      {head: "Topic Name", same: m => m.topic, cell: m => name(m.topic)},
      {head: "State", cell: m => m.state},
      {head: "QoS", number: true, cell: m => String(m.qos)},
      {head: "Payload", number: true, cell: m => bytes(m.bytes)},
      {head: "Queued", number: true, minor: true, cell: m => (m.queued_at ? ago(m.queued_at) : "–")},
      {head: "Expires", number: true, minor: true, cell: m => (m.expires_at ? ahead(m.expires_at) : "never")},
    ],
  }).node;
}

