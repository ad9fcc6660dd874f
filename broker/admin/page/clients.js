// The lists of clients and of sessions.

import {call} from "./api.js";
import {ask, say} from "./dialog.js";
import {button, choice, field, h, link, name, put, to} from "./dom.js";
import {ahead, bytes, count, duration, expiry, plural, since} from "./format.js";
import {list} from "./list.js";

const filter = (label, input) => ({name: input.name, node: field(label, input)});

function searchFilter() {
  return filter("Search", h("input", {type: "search", name: "search", placeholder: "identifier, user or address", size: 28, spellcheck: "false", autocapitalize: "none"}));
}

const id = {head: "Client", sort: "id", same: c => c.id, cell: c => link(to(["clients", c.id]), name(c.id))};
const user = {head: "User", sort: "user", minor: true, same: c => c.user, cell: c => name(c.user, "anonymous")};
const queued = {head: "Queued", sort: "queued", number: true, cell: c => count(c.queued)};
const queuedBytes = {head: "Size", sort: "queued_bytes", number: true, minor: true, cell: c => bytes(c.queued_bytes)};
const dropped = {head: "Dropped", sort: "dropped", number: true, cell: c => count(c.dropped)};
const subscribed = {head: "Subs", sort: "subscriptions", number: true, minor: true, cell: c => count(c.subscriptions)};
const state = {
  head: "State", sort: "connected", same: c => c.connected,
  cell: c => h("span", {class: "state " + (c.connected ? "good" : "off")}, c.connected ? "connected" : "away"),
};

export function clients(view) {
  return list(view, {
    operation: "GET /clients", caption: "Clients", key: c => c.id, sort: "id", empty: "No client has connected yet.",
    filters: [
      searchFilter(),
      filter("Connected", choice([["", "all"], ["true", "connected"], ["false", "away"]], "", {name: "connected"})),
      filter("Session", choice([["", "all"], ["true", "durable"], ["false", "ends with its connection"]], "", {name: "durable"})),
    ],
    columns: [
      id, state, user,
      {head: "Address", sort: "address", minor: true, wide: true, same: c => c.address, cell: c => name(c.address)},
      {head: "Protocol", sort: "protocol", minor: true, wide: true, cell: c => c.protocol ?? "–"},
      {head: "Since", minor: true, number: true, sort: "connected_at",
        cell: c => duration(since(c.connected ? c.connected_at : c.disconnected_at))},
      subscribed, queued,
      {head: "In", sort: "messages_in", number: true, minor: true, cell: c => count(c.messages_in)},
      {head: "Out", sort: "messages_out", number: true, minor: true, cell: c => count(c.messages_out)},
      dropped,
    ],
  }).node;
}

export function sessions(view) {
  const made = list(view, {
    operation: "GET /sessions", caption: "Sessions", key: c => c.id, sort: "queued_bytes", descending: true, empty: "There are no sessions.",
    filters: [searchFilter(), filter("Connected", choice([["", "all"], ["true", "connected"], ["false", "away"]], "", {name: "connected"}))],
    columns: [
      id, state, user,
      {head: "Away for", sort: "disconnected_at", number: true, cell: c => (c.connected ? "–" : duration(since(c.disconnected_at)))},
      {head: "Ends", minor: true, number: true, cell: c => (c.expires_at ? ahead(c.expires_at) : c.connected ? expiry(c.session_expiry_seconds) : "never")},
      subscribed, queued, queuedBytes, dropped,
    ],
  });
  return [view.admin ? h("div", {class: "tools"}, button("Purge old sessions…", () => purge(made.again), {class: "danger"})) : null, made.node];
}

// purge ends sessions without connection, after it has shown how many they are.
async function purge(again) {
  const days = h("input", {type: "number", name: "n", min: "1", max: "36500", value: "30", required: true});
  const unit = choice([["86400", "days"], ["3600", "hours"]], "86400", {name: "unit"});
  const found = h("p", {class: "quiet", role: "status"}, "");
  let counted = null;
  const seconds = () => Number(days.value) * Number(unit.value);
  const yes = dryRun => call("POST /sessions/purge", {body: {older_than: seconds(), dry_run: dryRun}});
  const content = h("div", {}, h("p", {}, "Sessions without a connection end, with their subscriptions and all messages that wait for them."),
    h("div", {class: "row"}, field("Away for at least", days), field("Unit", unit)), found);
  content.addEventListener("input", () => {
    counted = null;
    put(found, "");
  });
  await ask({
    title: "Purge old sessions", action: "Count, then purge", danger: true, content,
    run: async form => {
      if (counted === null) {
        counted = (await yes(true)).count;
        put(found, counted ? `${plural(counted, "session")} would end. Press again to end ${counted === 1 ? "it" : "them"}.` : "There is none that old.");
        form.querySelector("[type=submit]").textContent = counted ? `End ${plural(counted, "session")}` : "Count again";
        if (!counted) counted = null;
        throw new Error("");
      }
      const out = await yes(false);
      say(`${plural(out.count, "session")} ended.`);
      again();
    },
  });
}

