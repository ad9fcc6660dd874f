// Retained messages: a tree of their topics that is loaded level by level, those that fit a
// Topic Filter, and one of them with its payload.

import {address, call} from "./api.js";
import {ask, say} from "./dialog.js";
import {button, facts, field, h, link, name, put, setText, shown, to} from "./dom.js";
import {ahead, bytes, count, duration, plural} from "./format.js";
import {list} from "./list.js";
import {decode, payloadView} from "./payload.js";
import {failure} from "./view.js";

const levelsShown = 200;

export function retained(view) {
  const filter = view.query.get("filter") ?? "";
  const input = h("input", {type: "search", name: "filter", value: filter, size: 34, spellcheck: "false", autocapitalize: "none", placeholder: "sensors/+/temperature"});
  const search = h("form", {class: "search", role: "search", onsubmit: event => {
    event.preventDefault();
    location.assign(to(["retained"], {filter: input.value}));
  }}, field("Topic Filter", input), h("button", {type: "submit"}, "List"),
  filter ? link("#/retained", "Show the tree") : null);
  const detail = h("div", {class: "detail", "aria-live": "off"}, h("p", {class: "empty"}, "Choose a topic to see its message."));
  const open = topic => message(view, detail, topic, renew);
  let renew = () => {};
  const left = h("div", {});
  if (filter) {
    const made = matching(view, filter, open);
    renew = made.again;
    put(left, made.node);
  } else {
    renew = () => put(left, tree(view, open));
    renew();
  }
  const topic = view.query.get("topic");
  if (topic !== null) open(topic);
  return [search, h("div", {class: "split"}, left, detail)];
}

// matching lists those that fit a filter.
function matching(view, filter, open) {
  const made = list(view, {
    operation: "GET /retained", caption: "Retained messages that fit", key: m => m.topic, fixed: {filter}, seconds: 15, empty: "No retained message fits this filter.",
    columns: [
      {head: "Topic Name", same: m => m.topic, cell: m => h("button", {type: "button", class: "plain", onclick: () => open(m.topic)}, name(m.topic))},
      {head: "QoS", number: true, cell: m => String(m.qos)},
      {head: "Payload", number: true, cell: m => bytes(m.bytes)},
      {head: "Published by", minor: true, same: m => m.user, cell: m => name(m.user, "anonymous")},
      {head: "Expires", minor: true, number: true, cell: m => (m.expires_at ? ahead(m.expires_at) : "never")},
    ],
  });
  const tools = h("div", {class: "tools"},
    h("a", {class: "button", href: address("/retained/export", {}, {filter}), download: "retained.ndjson"}, "Export"),
    view.admin ? button("Delete all that fit…", () => deleteAll(filter, made.again), {class: "danger"}) : null);
  return {node: [tools, made.node], again: made.again};
}

// deleteAll deletes those that fit, after it has said how many they are.
async function deleteAll(filter, again) {
  let found;
  try {
    found = (await call("DELETE /retained", {query: {filter, dry_run: true}})).count;
  } catch (error) {
    say(error.message, true);
    return;
  }
  if (!found) {
    say("No retained message fits this filter.");
    return;
  }
  if (await ask({
    title: "Delete retained messages", action: `Delete ${plural(found, "message")}`, danger: true,
    content: h("p", {}, `${plural(found, "retained message")} fit `, name(filter), "."),
    run: async () => say(plural((await call("DELETE /retained", {query: {filter}})).count, "retained message") + " deleted."),
  })) again();
}

// tree is that of all topics.
function tree(view, open) {
  const top = h("ul", {class: "tree", "aria-label": "Topics"});
  levels(view, top, "", "", open);
  return top;
}

// levels adds the levels below a prefix to a list, a part at a time.
async function levels(view, ul, prefix, cursor, open) {
  const wait = h("li", {class: "quiet late"}, "Loading…");
  ul.append(wait);
  try {
    const page = await call("GET /retained/levels", {signal: view.signal, query: {prefix, cursor, limit: levelsShown}});
    wait.remove();
    const items = page.items.toSorted((a, b) => a.name.localeCompare(b.name, "en", {numeric: true}));
    ul.append(...items.map(l => node(view, l, prefix, open)));
    if (!ul.firstChild) ul.append(h("li", {class: "empty"}, prefix ? "Nothing is left here." : "There are no retained messages."));
    if (page.next) ul.append(h("li", {}, button("More…", event => {
      event.closest("li").remove();
      return levels(view, ul, prefix, page.next, open);
    })));
  } catch (error) {
    if (!view.signal.aborted) put(wait, failure(error, async () => {
      wait.remove();
      await levels(view, ul, prefix, cursor, open);
    }));
  }
}

function node(view, level, prefix, open) {
  const below = h("ul", {hidden: true});
  const label = level.name === "" ? h("span", {class: "none"}, "(empty level)") : name(level.name);
  const mark = h("span", {class: "mark", "aria-hidden": "true"}, "▸");
  const unfold = h("button", {type: "button", class: "plain", "aria-expanded": "false", onclick: () => {
    const opened = below.hidden;
    below.hidden = !opened;
    unfold.setAttribute("aria-expanded", String(opened));
    setText(mark, opened ? "▾" : "▸");
    if (opened && !below.firstChild) levels(view, below, prefix + level.name + "/", "", open);
  }}, mark, label, h("span", {class: "quiet"}, count(level.below) + (level.more_below ? "+" : "")));
  const leaf = h("button", {type: "button", class: "plain leaf", onclick: () => open(level.topic)}, level.below ? h("span", {class: "quiet"}, "its message") : label, h("span", {class: "quiet"}, bytes(level.bytes)));
  return h("li", {}, level.below ? unfold : null, level.retained ? leaf : null, level.below ? below : null);
}

// message shows one.
async function message(view, element, topic, renew) {
  put(element, h("p", {class: "quiet late"}, "Loading…"));
  let m;
  try {
    m = await call("GET /retained/message", {signal: view.signal, query: {topic}});
  } catch (error) {
    if (!view.signal.aborted) put(element, failure(error, () => message(view, element, topic, renew)));
    return;
  }
  const remove = async () => {
    if (await ask({
      title: "Delete a retained message", action: "Delete", danger: true, content: h("p", {}, "New subscribers of ", name(topic), " get none any more."),
      run: () => call("DELETE /retained", {query: {filter: topic}}),
    })) {
      put(element, h("p", {class: "empty"}, "Deleted."));
      renew();
    }
  };
  put(element, h("h2", {tabindex: "-1"}, name(topic)),
    view.admin ? h("div", {class: "tools"}, h("a", {class: "button", href: to(["publish"], {topic, retain: "1"})}, "Publish here"), button("Delete…", remove, {class: "danger"})) : null,
    facts([["QoS", String(m.qos)], ["Published by", name(m.user, "anonymous")], ["Content type", m.content_type && shown(m.content_type)],
      ["Expires", m.message_expiry_seconds ? "in " + duration(m.message_expiry_seconds) : "never"],
      ["Response topic", m.response_topic && name(m.response_topic)],
      ...(m.user_properties ?? []).map(p => [name(p.name), name(p.value, "empty")])]),
    payloadView(decode(m.payload)));
  element.querySelector("h2").focus({preventScroll: innerWidth > 900});
}
