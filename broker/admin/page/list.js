// Lists that the API gives in parts: search, order and place are in the address, so that each
// part of a list has one. The broker searches and sorts.

import {call} from "./api.js";
import {button, h, put, to} from "./dom.js";
import {count} from "./format.js";
import {table} from "./table.js";

const rowsShown = 100;

// Where each later part was come to from.
const trail = new Map();

// list shows what an operation lists. filters are {name, node}, whose values go into the
// query of the operation; sort and descending are the order without another choice; fixed is
// what the query has besides; each is called with each part. It returns {node, again}.
export function list(view, {operation, caption, columns, key, empty, filters = [], fixed = {}, sort, descending, seconds = 5, path, each}) {
  let q = view.query;
  const wanted = () => Object.fromEntries(filters.map(f => [f.name, q.get(f.name) ?? ""]));
  const order = sort && {
    read() {
      this.by = q.get("sort") ?? sort;
      this.descending = q.has("sort") ? q.get("order") === "desc" : Boolean(descending);
    },
    change: (by, down) => go({sort: by, order: down ? "desc" : "asc", cursor: "", from: ""}),
  };
  order?.read();
  const made = table({caption, columns, key, order});
  const place = h("p", {class: "place"});
  let next = "";
  const from = () => Number(q.get("from")) || 0;
  const forward = button("Next", () => go({cursor: next, from: from() + rowsShown}));
  const back = button("Back", () => (trail.has(location.hash) ? history.back() : go({cursor: "", from: ""})));
  const first = button("First", () => go({cursor: "", from: ""}));
  const ways = h("span", {class: "buttons"}, first, back, forward);
  const body = h("div", {}, made.node, h("div", {class: "paging"}, place, ways));
  const target = h("div", {});

  const ask = async () => {
    for (;;) {
      const asked = q;
      const page = await call(operation, {
        path, signal: view.signal,
        query: {...fixed, ...wanted(), limit: rowsShown, cursor: q.get("cursor"), ...(order ? {sort: order.by, order: order.descending ? "desc" : "asc"} : {})},
      });
      if (asked === q) return page; // else it was changed meanwhile
    }
  };
  const render = page => {
    const items = page.items ?? [];
    made.show(items, Object.values(wanted()).some(Boolean) ? "Nothing fits this search." : empty);
    next = page.next ?? "";
    forward.disabled = !next;
    back.disabled = first.disabled = !from();
    ways.hidden = !next && !from();
    const all = page.total ? ` of ${count(page.total)}` : next ? "" : ` of ${count(from() + items.length)}`;
    put(place, items.length ? `${count(from() + 1)}–${count(from() + items.length)}${all}` : "");
    each?.(page);
    return body.isConnected ? undefined : [body];
  };
  const again = view.show(target, ask, render, seconds);

  // go asks for another part, and puts it into the address.
  function go(changes, typing) {
    const was = location.hash;
    const address = to(view.parts, {...Object.fromEntries(q), ...changes});
    if (typing) history.replaceState(null, "", address);
    else history.pushState(null, "", address);
    if (changes.cursor) trail.set(location.hash, was);
    q = new URLSearchParams(location.hash.split("?")[1] ?? "");
    order?.read();
    made.ordered();
    again();
  }
  const form = filters.length ? search(filters, wanted(), (values, typing) => go({...values, cursor: "", from: ""}, typing)) : null;
  return {node: h("div", {}, form, target), again};
}

// search is the form of the filters. A text is asked for while it is written.
function search(filters, wanted, go) {
  const form = h("form", {class: "search", role: "search"}, filters.map(f => f.node));
  const values = () => Object.fromEntries(new FormData(form).entries());
  for (const f of filters) form.elements[f.name].value = wanted[f.name];
  form.addEventListener("submit", event => {
    event.preventDefault();
    go(values());
  });
  let timer = 0;
  form.addEventListener("input", event => {
    clearTimeout(timer);
    const text = event.target.matches("input");
    timer = setTimeout(() => form.isConnected && go(values(), text), text ? 300 : 0);
  });
  return form;
}
