// What was dropped: over time, in all, and the last ones.

import {call} from "./api.js";
import {h, link, name, put, section, to} from "./dom.js";
import {bytes, count, moment, rate} from "./format.js";
import {latest, onNumbers, perSecond, samples} from "./live.js";
import {plot} from "./plot.js";
import {table} from "./table.js";

// What each reason of promptmq_messages_dropped_total means, and what helps.
const reasons = {
  expired: "Its Message Expiry Interval had passed.",
  too_large: "It is larger than the client's Maximum Packet Size.",
  slow_consumer: "QoS 0, and the client does not read as fast as it is sent to.",
  offline_qos0: "QoS 0, and the client was not connected.",
  no_member: "A shared subscription had no member to take it.",
  queue_full_newest: "The queue of the client was full, so the new message went.",
  queue_full_oldest: "The queue of the client was full, so the oldest message went.",
  too_old: "It waited for longer than the longest time for messages.",
  session_ended: "The session ended before it was sent.",
  unsubscribed: "The subscription was removed before it was sent.",
  denied: "A rule does not let the client receive it.",
};

// dropColumns are those of a table of drops.
export const dropColumns = withClient => [
  {head: "Time", same: d => d.at, cell: d => moment(d.at)},
  ...(withClient ? [{head: "Client", same: d => d.client, cell: d => link(to(["clients", d.client]), name(d.client))}] : []),
  {head: "Topic Name", same: d => d.topic, cell: d => name(d.topic)},
  {head: "Reason", same: d => d.reason, cell: d => h("span", {title: reasons[d.reason]}, d.reason)},
  {head: "QoS", number: true, minor: true, cell: d => String(d.qos)},
  {head: "Payload", number: true, minor: true, cell: d => bytes(d.bytes)},
];

export function drops(view) {
  const plots = h("div", {class: "plots one"});
  const totals = table({caption: "Dropped since the start of the broker, by reason", key: r => r.reason, columns: [
    {head: "Reason", cell: r => r.reason},
    {head: "In all", number: true, cell: r => count(r.n)},
    {head: "Last 10 min", number: true, cell: r => count(r.lately)},
    {head: "What it means", minor: true, cell: r => reasons[r.reason] ?? ""},
  ]});
  let drawn = "";
  const renew = () => {
    const n = latest();
    if (!n) return;
    const names = Object.keys(n.dropped ?? {}).filter(r => n.dropped[r] > 0).sort();
    totals.show(names.map(reason => ({reason, n: n.dropped[reason], lately: n.dropped[reason] - (samples[0].dropped?.[reason] ?? 0)})),
      "Nothing was dropped since the start of the broker.");
    if (drawn === names.join()) return;
    drawn = names.join();
    const made = plot({title: "Dropped", unit: "/s, by reason", format: rate, floor: 1, stacked: true,
      series: names.map(reason => ({name: reason, value: i => perSecond(i, s => s.dropped?.[reason] ?? 0)}))});
    view.ends(made.stop);
    put(plots, names.length ? made.figure : null);
    made.draw();
  };
  view.ends(onNumbers(renew));
  const last = table({caption: "The last drops", key: d => d.at + d.client + d.topic + d.reason, columns: dropColumns(true)});
  const lately = h("div", {});
  view.show(lately, () => call("GET /drops", {signal: view.signal}), page => {
    last.show(page.items ?? [], "None lately.");
    return last.node.isConnected ? undefined : [last.node];
  }, 5);
  renew();
  return [plots, section("By reason", totals.node), section("The last ones", lately)];
}
