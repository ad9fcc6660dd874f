// Tables that are brought up to date in place: a row that stays keeps its elements, and with
// them the focus and a selection.

import {h, put} from "./dom.js";

// table makes one. Columns have head, cell(row), which is a text or an element, and may have
//   number  right-aligned
//   minor   left out on narrow screens
//   sort    the name by which the API sorts, if it does
//   same(row)  what an element is made of: it is made again only if that changes
// key(row) tells rows apart. order is {by, descending, change(by, descending)}; ordered shows
// that it was changed.
export function table({caption, columns, key, order}) {
  const heads = columns.map(c => h("th", {scope: "col", class: classes(c)}, head(c, order)));
  const body = h("tbody");
  const made = h("table", {}, h("caption", {class: "unseen"}, caption), h("thead", {}, h("tr", {}, heads)), body);
  const nothing = h("p", {class: "empty", hidden: true});
  const node = h("div", {class: "table", role: "region", "aria-label": caption, tabindex: "0"}, made, nothing);
  const rows = new Map();

  function ordered() {
    columns.forEach((c, n) => {
      if (!c.sort || !order) return;
      const way = order.by !== c.sort ? "" : order.descending ? "descending" : "ascending";
      if (way) heads[n].setAttribute("aria-sort", way);
      else heads[n].removeAttribute("aria-sort");
    });
  }

  // show brings the rows up to date; empty is said if there are none.
  function show(list, empty) {
    const kept = new Set();
    let before = null;
    for (const row of list) {
      const k = key(row);
      if (kept.has(k)) continue;
      kept.add(k);
      let entry = rows.get(k);
      if (!entry) rows.set(k, entry = fresh(columns));
      renew(entry, columns, row);
      const place = before ? before.nextSibling : body.firstChild;
      if (place !== entry.tr) body.insertBefore(entry.tr, place);
      before = entry.tr;
    }
    for (const [k, entry] of rows) {
      if (kept.has(k)) continue;
      entry.tr.remove();
      rows.delete(k);
    }
    nothing.hidden = list.length > 0;
    made.hidden = list.length === 0;
    put(nothing, empty);
  }
  ordered();
  return {node, show, ordered};
}

const classes = c => [c.number && "number", c.minor && "minor", c.wide && "wide"].filter(Boolean).join(" ") || null;

function head(c, order) {
  if (!c.sort || !order) return c.head || h("span", {class: "unseen"}, "Actions");
  const change = () => order.change(c.sort, order.by === c.sort ? !order.descending : Boolean(c.number));
  return h("button", {type: "button", class: "sort", onclick: change}, c.head);
}

function fresh(columns) {
  const cells = columns.map((c, n) => h(n === 0 ? "th" : "td", {scope: n === 0 ? "row" : null, class: classes(c)}));
  return {tr: h("tr", {}, cells), cells, was: columns.map(() => undefined)};
}

function renew(entry, columns, row) {
  columns.forEach((c, n) => {
    const same = c.same ? String(c.same(row)) : c.cell(row);
    if (typeof same === "string" && same === entry.was[n]) return;
    entry.was[n] = same;
    put(entry.cells[n], c.same ? c.cell(row) : same);
  });
}
