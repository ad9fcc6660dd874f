// Listeners, and the configuration with the source of each value.

import {call} from "./api.js";
import {ask, say} from "./dialog.js";
import {button, field, h, name, section, shown} from "./dom.js";
import {table} from "./table.js";

// value is all that is said of the value of a key.
const value = k => [k.value, k.in_use, k.source, k.default, k.waiting, k.waiting_source].join("\n");

// more is where a value comes from, what was made of it, and what it would be.
const more = k => [
  h("div", {class: "help"}, k.source === "default" ? "default" : `from ${shown(k.source || "–")}` + (k.default === k.value ? "" : `; default: ${shown(k.default || "none")}`)),
  k.waiting === undefined ? null : h("div", {class: "help"}, `waits for a restart: ${shown(k.waiting || "none")}, from ${shown(k.waiting_source)}`),
  k.in_use ? h("div", {class: "help"}, "in use: " + shown(k.in_use)) : null,
];

export function settings(view) {
  const open = table({caption: "Listeners", key: l => l.name, columns: [
    {head: "Name", same: l => l.name, cell: l => name(l.name)},
    {head: "Kind", cell: l => l.kind ?? "–"},
    {head: "Address", same: l => l.address, cell: l => name(l.address)},
    {head: "TLS", cell: l => (l.tls ? "yes" : "no")},
  ]});
  const listeners = h("div", {});
  view.show(listeners, () => call("GET /listeners", {signal: view.signal}), page => {
    open.show(page.items, "No listener is open.");
    return open.node.isConnected ? undefined : [open.node];
  }, 10);

  const made = table({caption: "Configuration", key: k => k.key, columns: [
    {head: "Key", same: k => k.key, cell: k => [h("code", {}, k.key), h("div", {class: "help"}, k.help)]},
    {head: "Value", same: value, cell: k => [h("bdi", {class: "name"}, shown(k.value || "–")), more(k)]},
    {head: "A change needs", minor: true, wide: true, cell: k => k.change ?? ""},
  ]});
  const look = h("input", {type: "search", size: 28, spellcheck: "false", autocapitalize: "none", placeholder: "key, value or help"});
  const changed = h("input", {type: "checkbox"});
  let all = [];
  const show = () => {
    const wanted = look.value.toLowerCase();
    made.show(all.filter(k => `${k.key} ${value(k)} ${k.help}`.toLowerCase().includes(wanted) && !(changed.checked && k.source === "default")), "No key fits.");
  };
  look.addEventListener("input", show);
  changed.addEventListener("change", show);
  const body = h("div", {});
  const again = view.show(body, () => call("GET /config", {signal: view.signal}), page => {
    all = page.items;
    show();
    return made.node.isConnected ? undefined : [made.node];
  }, 30);
  const reload = async () => {
    if (await ask({
      title: "Reload", action: "Reload",
      content: h("p", {}, "The broker reads its configuration, certificates, users and rules again. All of it is taken over, or nothing."),
      run: async () => {
        const out = await call("POST /reload");
        say(out?.changed?.length ? "Changed: " + out.changed.join(", ") : "Reloaded.");
      },
    })) again();
  };
  return [
    section("Listeners", listeners),
    section("Settings", h("div", {class: "search"}, field("Search", look), h("div", {class: "field check"}, h("label", {}, changed, " Only those that were set")),
      view.admin ? button("Reload…", reload) : null), body),
  ];
}
