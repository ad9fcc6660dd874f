// The overview: what needs attention, and ten minutes of everything that moves.

import {call} from "./api.js";
import {h, link, name, put, section, to, totals} from "./dom.js";
import {axisBytes, axisLatency, bytes, count, latency, plural, rate} from "./format.js";
import {latest, onNumbers, perSecond, samples, sum} from "./live.js";
import {plot} from "./plot.js";
import {table} from "./table.js";

const each = counter => i => perSecond(i, counter);
const level = field => i => samples[i][field] ?? NaN;

// meanCommit is how long a commit took at a sample.
function meanCommit(i) {
  if (i < 1) return NaN;
  const commits = samples[i].commits - samples[i - 1].commits;
  return commits > 0 ? (samples[i].commit_seconds - samples[i - 1].commit_seconds) / commits : NaN;
}

// commitPlot is how long commits take.
export const commitPlot = () => plot({title: "Time to commit", format: latency, axis: axisLatency, floor: 1e-3,
  series: [{name: "p99", value: level("commit_p99_seconds")}, {name: "mean", value: meanCommit}]});

export function overview(view) {
  const byQoS = field => [0, 1, 2].map(qos => ({name: "QoS " + qos, value: each(s => s[field][qos])}));
  const plots = [
    plot({title: "Messages in", unit: "/s", format: rate, floor: 1, stacked: true, series: byQoS("messages_in")}),
    plot({title: "Messages out", unit: "/s", format: rate, floor: 1, stacked: true, series: byQoS("messages_out")}),
    plot({title: "Network", unit: "/s", format: bytes, axis: axisBytes, binary: true, floor: 1024, series: [
      {name: "in", value: each(s => s.bytes_in)}, {name: "out", value: each(s => s.bytes_out)}]}),
    plot({title: "Time to process", format: latency, axis: axisLatency, floor: 1e-4, series: [{name: "p99", value: level("processing_p99_seconds")}]}),
    commitPlot(),
    plot({title: "Dropped", unit: "/s", format: rate, floor: 1, series: [{name: "for subscribers", value: each(s => sum(s.dropped))}]}),
    plot({title: "Connections", format: count, floor: 4, series: [{name: "open", value: level("connections")}]}),
    plot({title: "Connects", unit: "/s", format: rate, floor: 1, series: [
      {name: "let in", value: each(s => s.connections_total)}, {name: "refused", value: each(s => sum(s.refused))}]}),
    plot({title: "Memory", format: bytes, axis: axisBytes, binary: true, limit: () => latest()?.memory_limit_bytes ?? 0, series: [{name: "needed", value: level("memory_needed_bytes")}]}),
  ];
  const waiting = plot({title: "Messages that wait", format: count, floor: 4, series: [{name: "queued", value: level("queued")}]});
  view.ends(waiting.stop);
  plots.forEach(p => view.ends(p.stop));
  const attention = h("ul", {class: "attention"});
  const all = h("div", {});
  const renew = () => {
    const n = latest();
    if (!n) return;
    const found = concerns(n);
    const text = JSON.stringify(found.map(c => c.slice(0, 3)));
    if (attention.dataset.was !== text) {
      attention.dataset.was = text;
      put(attention, found.map(([grade, about, what, where]) => h("li", {class: grade}, h("b", {}, about), " ", what, where ? [" ", link(where, "Look")] : null)));
    }
    put(all, totals([
      ["clients connected", count(n.connections)], ["sessions", count(n.sessions)], ["subscriptions", count(n.subscriptions)],
      ["retained messages", count(n.retained)], ["messages in, in all", count(sum(n.messages_in))], ["messages out, in all", count(sum(n.messages_out))],
      ["dropped, in all", count(sum(n.dropped))], ["database", bytes(n.database_bytes + n.wal_bytes)],
    ]));
  };
  view.ends(onNumbers(renew));
  renew();

  const queues = table({caption: "Longest queues", key: c => c.id, columns: [
    {head: "Client", same: c => c.id, cell: c => link(to(["clients", c.id]), name(c.id))},
    {head: "Queued", number: true, cell: c => count(c.queued)},
    {head: "Size", number: true, cell: c => bytes(c.queued_bytes)},
    {head: "In flight", number: true, minor: true, cell: c => count(c.in_flight)},
    {head: "Dropped", number: true, cell: c => count(c.dropped)},
  ]});
  const longest = h("div", {});
  view.show(longest, () => call("GET /clients", {signal: view.signal, query: {sort: "queued", order: "desc", limit: 8}}), page => {
    queues.show(page.items.filter(c => c.queued > 0), "No client has messages waiting.");
    return queues.node.isConnected ? undefined : [queues.node];
  }, 5);
  return [all, attention, h("div", {class: "plots"}, plots.map(p => p.figure)), section("Queues", h("div", {class: "beside"}, waiting.figure, longest))];
}

// concerns are what somebody should look at: its grade, what it is about, a sentence, and
// where to look.
function concerns(n) {
  const found = [];
  const first = samples[0];
  const dropped = sum(n.dropped) - sum(first.dropped);
  const panics = n.panics - first.panics;
  if (!n.ready) found.push(["bad", "Not ready.", n.not_ready || "The broker is starting.", "#/log"]);
  if (n.overload !== "normal") found.push(["bad", "Overload: " + n.overload + ".", "Memory is short, so the broker protects itself.", null]);
  if (n.panics) found.push(["bad", plural(n.panics, "panic") + ".", panics ? "The last one within ten minutes." : "None within the last ten minutes.", "#/log"]);
  if (n.memory_limit_bytes && n.memory_needed_bytes > 0.8 * n.memory_limit_bytes) {
    found.push(["warn", "Memory.", `${bytes(n.memory_needed_bytes)} are needed, the limit is ${bytes(n.memory_limit_bytes)}.`, "#/settings"]);
  }
  if (n.disk_free_bytes && n.disk_free_bytes < 1 << 30) found.push(["warn", "Disk.", `${bytes(n.disk_free_bytes)} are free.`, "#/store"]);
  if (n.wal_bytes > 256 << 20) found.push(["warn", "WAL.", `It has grown to ${bytes(n.wal_bytes)}: somebody reads the store for long.`, "#/store"]);
  if (n.commit_p99_seconds > 0.25) found.push(["warn", "Slow disk.", `One of a hundred commits takes longer than ${latency(n.commit_p99_seconds)}.`, "#/store"]);
  if (dropped > 0) found.push(["warn", plural(dropped, "message") + " dropped", "within the last ten minutes.", "#/drops"]);
  if (!found.length) found.push(["good", "Nothing needs attention.", "No drops, no overload, no panics.", null]);
  return found;
}
