// The last lines of the log, and its level.

import {call} from "./api.js";
import {attempt} from "./dialog.js";
import {choice, field, h, put, shown} from "./dom.js";

const linesShown = 1000;
const levels = ["trace", "debug", "info", "warn", "error", "fatal", "panic"];

export function log(view) {
  const lines = h("ol", {class: "log", tabindex: "0", "aria-label": "Last lines of the log, newest last"});
  const look = h("input", {type: "search", size: 28, spellcheck: "false", autocapitalize: "none", placeholder: "part of a line"});
  const level = choice(levels.map(l => [l, l]), "info", {disabled: !view.admin});
  const why = h("span", {class: "quiet"});
  let all = [];
  const draw = () => {
    const end = lines.scrollTop + lines.clientHeight >= lines.scrollHeight - 8;
    const wanted = look.value.toLowerCase();
    put(lines, all.filter(l => l.text.toLowerCase().includes(wanted)).map(line));
    if (!lines.firstChild) put(lines, h("li", {class: "empty"}, "No line fits."));
    if (end) lines.scrollTop = lines.scrollHeight;
  };
  look.addEventListener("input", draw);
  const body = h("div", {});
  view.show(body, () => call("GET /log", {signal: view.signal, query: {after: all.at(-1)?.seq, limit: 500}}), page => {
    all = all.concat(page.items).slice(-linesShown);
    const first = !lines.isConnected;
    if (first) requestAnimationFrame(() => (lines.scrollTop = lines.scrollHeight));
    if (first || page.items.length) draw();
    return first ? [lines] : undefined;
  }, 2);
  const show = l => {
    level.value = l.level;
    put(why, l.set_at_run_time ? `set while running; the configuration says ${l.configured}` : "");
  };
  call("GET /log/level", {signal: view.signal}).then(show, () => {});
  level.addEventListener("change", () => attempt(async () => show(await call("PUT /log/level", {body: {level: level.value}})), () => `The level is ${level.value}.`));
  return [h("div", {class: "search"}, field("Search", look), field("Level", level), why), body];
}

// line is one of JSON, of text, or of whatever else it is.
function line(entry) {
  let text = entry.text, grade = /(?:level=|\b)(WARN|ERROR|FATAL|PANIC|DEBUG|TRACE)/i.exec(text.slice(0, 80))?.[1].toLowerCase() ?? "info";
  let time = "", message = null, rest = [];
  try {
    const {time: t, level, msg, ...others} = JSON.parse(text);
    [time, message, grade] = [t, msg, String(level).toLowerCase()];
    rest = Object.entries(others).map(([key, value]) => [" ", h("span", {class: "quiet"}, shown(key) + "="), shown(typeof value === "string" ? value : JSON.stringify(value))]);
  } catch {
    message = text;
  }
  const two = n => String(n).padStart(2, "0");
  const t = time ? new Date(time) : null;
  return h("li", {class: grade.replace(/[^a-z]/g, "")},
    t && !isNaN(t) ? h("time", {datetime: t.toISOString()}, `${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())} `) : null,
    h("b", {}, grade === "info" ? "" : grade + " "), shown(message ?? ""), rest, entry.cut ? h("span", {class: "none"}, " …") : null);
}
