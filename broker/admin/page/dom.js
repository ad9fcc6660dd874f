// Elements. Whatever comes from clients is put in here as text: no script of this page
// makes HTML out of a string.

const svgNames = new Set(["svg", "path", "line", "g", "text", "rect", "circle"]);

// h makes an element. Properties that begin with "on" are listeners; true is an attribute
// without a value; false, null and undefined are none.
export function h(tag, properties, ...children) {
  const element = svgNames.has(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  put(element, ...children);
  return element;
}

// put replaces what an element has.
export function put(element, ...children) {
  element.replaceChildren(...children.flat(9).filter(child => child !== null && child !== undefined && child !== false));
  return element;
}

// setText changes a text only if it is another: a selection in it stays.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// What a name may not do to the text around it: control characters, and those that turn
// the direction of writing or are not seen.
const unseen = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff]/g;

// shown is a name with what is not seen written out.
export function shown(text) {
  return String(text).replace(unseen, c => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
}

// name is an element with a text of a client: an identifier, a topic, a user name.
export function name(text, none = "–") {
  if (text === "" || text === undefined || text === null) return h("span", {class: "none"}, none);
  return h("bdi", {class: "name", title: text.length > 40 ? shown(text) : null}, shown(text));
}

// link is a link within the page.
export function link(hash, ...children) {
  return h("a", {href: hash}, ...children);
}

// to is the address of a view: its parts are escaped, and so are the values of its query.
export function to(parts, query) {
  const path = "#/" + parts.map(encodeURIComponent).join("/");
  const q = new URLSearchParams();
  for (const [key, value] of Object.entries(query ?? {})) if (value !== undefined && value !== null && value !== "") q.set(key, value);
  return q.size ? path + "?" + q : path;
}

// button makes one that runs an action once at a time.
export function button(text, action, properties) {
  const element = h("button", {type: "button", ...properties}, text);
  element.addEventListener("click", async () => {
    if (element.getAttribute("aria-busy") === "true") return;
    element.setAttribute("aria-busy", "true");
    try {
      await action(element);
    } finally {
      element.removeAttribute("aria-busy");
    }
  });
  return element;
}

let ids = 0;

// field makes a label with its input.
export function field(label, input, hint) {
  input.id ||= "f" + ++ids;
  const about = hint ? h("small", {id: input.id + "h"}, hint) : null;
  if (about) input.setAttribute("aria-describedby", about.id);
  return h("div", {class: "field"}, h("label", {for: input.id}, label), input, about);
}

// choice makes a select: options are pairs of value and text.
export function choice(options, value, properties) {
  return h("select", properties, ...options.map(([v, text]) => h("option", {value: v, selected: v === value}, text)));
}

// facts makes a list of terms and what is said of them; those without a value are left out.
export function facts(pairs) {
  return h("dl", {class: "facts"}, pairs.filter(pair => pair && pair[1] !== undefined && pair[1] !== null && pair[1] !== "")
    .map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value))));
}

// totals makes a row of large values with what they are.
export function totals(pairs) {
  return h("dl", {class: "totals"}, pairs.map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value))));
}

// section makes a part of a view with its heading.
export function section(title, ...children) {
  return h("section", {}, h("h2", {}, title), ...children);
}
