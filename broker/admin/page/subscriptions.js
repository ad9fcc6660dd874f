// All subscriptions: by a part of their filter, by a whole one, by a topic that they fit, or by client.

import {choice, field, h, link, name, to} from "./dom.js";
import {list} from "./list.js";

export function subscriptions(view) {
  const by = ["search", "filter", "topic", "client"].find(n => view.query.get(n)) ?? view.query.get("by") ?? "search";
  const text = h("input", {type: "search", name: by, size: 34, spellcheck: "false", autocapitalize: "none", placeholder: examples[by]});
  const way = choice(Object.entries(ways), by, {});
  way.addEventListener("change", () => location.assign(to(["subscriptions"], {[way.value]: text.value, by: way.value})));
  return list(view, {
    operation: "GET /subscriptions", caption: "Subscriptions", key: s => s.client + "\u0000" + s.filter, seconds: 10,
    empty: "Nobody has subscribed to anything.",
    filters: [{name: by, node: [field("Look for", way), field(ways[by], text)]}],
    columns: [
      {head: "Topic Filter", same: s => s.filter, cell: s => name(s.filter)},
      {head: "Client", same: s => s.client, cell: s => link(to(["clients", s.client]), name(s.client))},
      {head: "QoS", number: true, cell: s => String(s.qos)},
      {head: "No local", minor: true, cell: s => (s.no_local ? "yes" : "–")},
      {head: "As published", minor: true, cell: s => (s.retain_as_published ? "yes" : "–")},
      {head: "Retained", minor: true, cell: s => ["sent", "if new", "not sent"][s.retain_handling ?? 0]},
      {head: "Identifier", number: true, minor: true, cell: s => (s.identifier ? String(s.identifier) : "–")},
    ],
  }).node;
}

const ways = {search: "Part of the filter", filter: "Exactly this filter", topic: "Who gets this topic", client: "Client"};
const examples = {search: "temperature", filter: "sensors/+/temperature", topic: "sensors/7/temperature", client: "identifier"};
