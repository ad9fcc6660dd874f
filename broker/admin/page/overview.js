// The overview: what needs attention, and ten minutes of everything that moves.

import {call} from "./api.js";
import {h, link, name, put, section, shown, to, totals} from "./dom.js";
import {axisBytes, axisLatency, bytes, count, latency, rate} from "./format.js";
import {latest, onNumbers, perSecond, samples, sum} from "./live.js";
import {plot} from "./plot.js";
import {table} from "./table.js";

const rowsShown = 8;
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
  view.show(longest, () => call("GET /status", {signal: view.signal}), status => {
    tell(attention, status.findings);
    queues.show(status.fullest_queues.filter(c => c.queued > 0).slice(0, rowsShown), "No client has messages waiting.");
    return queues.node.isConnected ? undefined : [queues.node];
  }, 5);
  return [all, attention, h("div", {class: "plots"}, plots.map(p => p.figure)), section("Queues", h("div", {class: "beside"}, waiting.figure, longest))];
}

// tell shows what somebody should know, if it is something else than before.
function tell(list, findings) {
  const said = JSON.stringify(findings);
  if (list.dataset.said === said) return;
  list.dataset.said = said;
  put(list, findings.length ? findings.map(f => h("li", {class: f.attention ? "warn" : null}, h("b", {}, shown(f.what)), " ", shown(f.do)))
    : h("li", {class: "good"}, h("b", {}, "Nothing needs attention."), " Nothing is full, and nothing was dropped or refused in the last ten minutes."));
}
