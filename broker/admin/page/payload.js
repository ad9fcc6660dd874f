// A payload as text, JSON or bytes.

import {button, h, put} from "./dom.js";
import {bytes, plural} from "./format.js";

const textMax = 256 << 10, hexMax = 4 << 10; // characters, bytes

// decode makes bytes of Base64.
export const decode = base64 => Uint8Array.from(atob(base64 ?? ""), c => c.charCodeAt(0));

// encode makes Base64 of bytes.
export function encode(data) {
  let text = "";
  for (let i = 0; i < data.length; i += 32768) text += String.fromCharCode(...data.subarray(i, i + 32768));
  return btoa(text);
}

// utf8 is the text of bytes, or null if they are none.
function utf8(data) {
  try {
    const text = new TextDecoder("utf-8", {fatal: true, ignoreBOM: true}).decode(data);
    return /[\u0000-\u0008\u000e-\u001f]/.test(text) ? null : text;
  } catch {
    return null;
  }
}

function json(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && value !== null ? JSON.stringify(value, null, 2) : null;
  } catch {
    return null;
  }
}

// payloadView shows bytes in the way that suits them, with a choice of the others.
export function payloadView(data) {
  const text = utf8(data);
  const pretty = text === null ? null : json(text);
  const box = h("pre", {class: "payload", tabindex: "0", "aria-label": "Payload"});
  const ways = [["JSON", pretty], ["Text", text ?? new TextDecoder().decode(data)], ["Hex", undefined]].filter(([, t]) => t !== null);
  const start = pretty !== null ? "JSON" : text !== null ? "Text" : "Hex";
  const show = way => {
    const value = ways.find(([w]) => w === way)[1];
    if (way === "Hex") hex(box, data, hexMax);
    else put(box, value === "" ? h("span", {class: "none"}, "empty") : value.slice(0, textMax), value.length > textMax ? h("span", {class: "none"}, ` … ${plural(value.length - textMax, "character")} more`) : null);
    for (const b of choice.children) b.setAttribute("aria-pressed", String(b.textContent === way));
  };
  const choice = h("div", {class: "choice", role: "group", "aria-label": "Show the payload as"}, ways.map(([way]) => button(way, () => show(way))));
  show(start);
  return h("div", {}, h("div", {class: "row"}, choice, h("span", {class: "quiet"}, bytes(data.length))), box);
}

// hex writes bytes, sixteen a line or as many as there is room for, with their place and what
// is ASCII.
function hex(box, data, most) {
  const width = innerWidth < 560 ? 6 : 16;
  const lines = [];
  for (let at = 0; at < Math.min(data.length, most); at += width) {
    const row = [...data.subarray(at, at + width)];
    lines.push(at.toString(16).padStart(width < 16 ? 4 : 8, "0") + "  " + row.map(b => b.toString(16).padStart(2, "0")).join(" ").padEnd(3 * width + 1) +
      row.map(b => (b >= 32 && b < 127 ? String.fromCharCode(b) : "·")).join(""));
  }
  put(box, lines.length ? lines.join("\n") + "\n" : h("span", {class: "none"}, "empty"),
    data.length > most ? button(`Show ${plural(Math.min(data.length - most, 16 * most), "byte")} more`, () => hex(box, data, most * 17)) : null);
}
