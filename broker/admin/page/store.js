// The store: how large and how fast it is, and questions to it in SQL.

import {call} from "./api.js";
import {facts, field, h, put, section, shown, totals} from "./dom.js";
import {axisBytes, bytes, count, latency, plural, rate} from "./format.js";
import {latest, onNumbers, perSecond, samples} from "./live.js";
import {commitPlot} from "./overview.js";
import {plot} from "./plot.js";

const level = field => i => samples[i][field] ?? NaN;

const examples = [
  ["Longest queues", "SELECT client, count(*) AS messages\nFROM queued GROUP BY client\nORDER BY messages DESC LIMIT 20"],
  ["Most subscribed filters", "SELECT filter, count(*) AS clients\nFROM subscriptions GROUP BY filter\nORDER BY clients DESC LIMIT 20"],
  ["The store", "SELECT * FROM store"],
];

export function store(view) {
  const plots = [
    commitPlot(),
    plot({title: "Commits", unit: "/s", format: rate, series: [{name: "commits", value: i => perSecond(i, s => s.commits)}]}),
    plot({title: "Write-ahead log", format: bytes, axis: axisBytes, binary: true, series: [{name: "WAL", value: level("wal_bytes")}]}),
    plot({title: "Database", format: bytes, axis: axisBytes, binary: true, series: [{name: "file", value: level("database_bytes")}]}),
  ];
  plots.forEach(p => view.ends(p.stop));
  const now = h("div", {});
  const renew = () => {
    const n = latest();
    if (n) put(now, totals([["database", bytes(n.database_bytes)], ["write-ahead log", bytes(n.wal_bytes)], ["free on the disk", n.disk_free_bytes ? bytes(n.disk_free_bytes) : "–"],
      ["commits", count(n.commits)], ["mean commit", n.commits ? latency(n.commit_seconds / n.commits) : "–"]]));
  };
  view.ends(onNumbers(renew));
  renew();
  const more = h("div", {});
  view.show(more, () => call("GET /store", {signal: view.signal}), s => [facts(Object.entries(s).filter(([key]) => !key.startsWith("$")).map(([key, value]) => [words(key), said(key, value)]))], 10);
  return [now, h("div", {class: "plots two"}, plots.map(p => p.figure)), section("What it has", more), section("Ask it", sql(view))];
}

const words = key => (key[0].toUpperCase() + key.slice(1)).replace(/_(bytes|seconds)$/, "").replaceAll("_", " ").replace(/\bwal\b/i, "WAL");

function said(key, value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "object") return shown(JSON.stringify(value));
  if (key.endsWith("bytes")) return bytes(value);
  if (key.endsWith("seconds")) return latency(value);
  return typeof value === "number" ? count(value) : shown(value);
}

// sql is a box for one query over the read-only views.
function sql(view) {
  const query = h("textarea", {name: "query", rows: 5, spellcheck: "false", autocapitalize: "none", class: "code", value: examples[0][1]});
  const answer = h("div", {class: "answer"});
  const run = h("button", {type: "submit", class: "main"}, "Run");
  const form = h("form", {class: "wideform", onsubmit: async event => {
    event.preventDefault();
    if (run.disabled) return;
    run.disabled = true;
    const begun = performance.now();
    try {
      const out = await call("POST /sql", {body: {query: query.value}, signal: view.signal});
      put(answer, rows(out, (performance.now() - begun) / 1000));
    } catch (error) {
      if (!view.signal.aborted) put(answer, h("p", {class: "bad", role: "alert"}, error.message));
    }
    run.disabled = false;
  }},
  h("p", {class: "quiet"}, "Views: clients, sessions, subscriptions, queued, retained, drops, users, store. They can only be read; time and rows are limited."),
  field("Query", query),
  h("div", {class: "actions"}, run, examples.map(([title, text]) => h("button", {type: "button", onclick: () => {
    query.value = text;
    query.focus();
  }}, title))));
  query.addEventListener("keydown", event => event.key === "Enter" && (event.ctrlKey || event.metaKey) && form.requestSubmit());
  return [form, answer];
}

function rows(out, seconds) {
  const list = out.rows ?? [];
  return [
    h("p", {class: "quiet", role: "status"}, `${plural(list.length, "row")}${out.more ? ", and there are more" : ""} in ${latency(seconds)}`),
    h("div", {class: "table", role: "region", "aria-label": "Answer", tabindex: "0"}, h("table", {},
      h("thead", {}, h("tr", {}, (out.columns ?? []).map((c, n) => h("th", {scope: "col", class: typeof list[0]?.[n] === "number" ? "number" : null}, shown(c))))),
      h("tbody", {}, list.map(row => h("tr", {}, row.map(value => h("td", {class: typeof value === "number" ? "number" : null},
        value === null ? h("span", {class: "none"}, "NULL") : typeof value === "number" ? String(value) : h("bdi", {class: "name"}, shown(typeof value === "object" ? JSON.stringify(value) : value)))))))))];
}
