// Plots of the last ten minutes, made as SVG by hand. A plot is drawn again after each new
// sample; the cross-hair is that of all plots.

import {h, put, setText} from "./dom.js";
import {clock, short} from "./format.js";
import {onNumbers, samples} from "./live.js";

const height = 96;
const plots = new Set();
let hovered = null; // a time in milliseconds

// minutes are how many are drawn: as many as there are, ten at most.
function minutes() {
  const kept = samples.length ? (samples.at(-1).time - samples[0].time) / 60_000 : 0;
  return [1, 2, 5].find(m => kept <= m) ?? 10;
}

// plot makes a figure. Its series have a name and value(i), which is that of a sample, NaN if
// there is none; with stacked they stand on each other. format writes a value, and axis one at
// the axis, whose steps are powers of 1,024 if binary; floor is the least that it goes to.
// limit() is said beside the values, and is a line across when they come near it. The view
// that it is in calls stop of what is returned.
export function plot({title, unit, series, format, axis = short, binary, stacked, limit, floor = 0}) {
  const now = series.map((s, n) => h("span", {class: "key c" + (n % 8)}, h("i", {}), s.name, h("b", {}, "–")));
  const bound = limit ? h("span", {class: "key"}) : null;
  const when = h("span", {class: "when"});
  const drawing = h("svg", {role: "img", preserveAspectRatio: "none"});
  const top = h("span", {class: "tick top"}), half = h("span", {class: "tick half"}), from = h("span", {class: "tick from"});
  const box = h("div", {class: "drawing"}, drawing, top, half,
    from, h("span", {class: "tick to"}, "now"));
  const figure = h("figure", {class: "plot"}, h("figcaption", {}, h("h3", {}, title, unit ? h("small", {}, " " + unit) : null), when, h("div", {class: "keys"}, now, bound)), box);
  const self = {figure, draw};

  function draw() {
    const width = drawing.clientWidth;
    if (!width || !samples.length) return;
    const end = samples.at(-1).time, start = end - minutes() * 60_000;
    const lines = values(series, stacked, start, Math.ceil(width / 2));
    let max = Math.max(floor, ...lines.flatMap(l => l.points.map(p => p.high)));
    const edge = limit && max > limit() / 4 ? limit() : 0;
    max = Math.max(max, edge);
    max = binary ? 1024 ** power(max, 1024) * nice(max / 1024 ** power(max, 1024)) : nice(max);
    const x = time => ((time - start) / (end - start)) * width;
    const y = value => height - 1 - (value / max) * (height - 6);
    drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    put(drawing,
      [max, max / 2].map(v => h("line", {class: "grid", x1: 0, x2: width, y1: y(v), y2: y(v)})),
      lines.map((l, n) => (stacked ? h("path", {class: "area c" + (n % 8), d: area(l.points, x, y)}) : h("path", {class: "line c" + (n % 8), d: line(l.points, x, y)}))),
      edge ? h("line", {class: "limit", x1: 0, x2: width, y1: y(edge), y2: y(edge)}) : null,
      hovered === null ? null : h("line", {class: "cross", x1: x(hovered), x2: x(hovered), y1: 0, y2: height}));
    setText(from, `−${minutes()} min`);
    setText(top, axis(max));
    setText(half, axis(max / 2));
    say(hovered === null ? samples.length - 1 : nearest(hovered));
  }

  function say(i) {
    const texts = series.map(s => {
      const value = s.value(i);
      return Number.isNaN(value) ? "–" : format(value);
    });
    texts.forEach((text, n) => setText(now[n].lastChild, text));
    if (bound) setText(bound, limit() ? "of " + format(limit()) : "");
    setText(when, hovered === null ? "" : clock(samples[i].time));
    if (hovered === null) drawing.setAttribute("aria-label", `${title}, now: ` + series.map((s, n) => `${s.name} ${texts[n]}`).join(", "));
  }

  box.addEventListener("pointermove", event => {
    const part = (event.clientX - drawing.getBoundingClientRect().left) / drawing.clientWidth;
    hover(samples.length ? samples.at(-1).time - (1 - part) * minutes() * 60_000 : null);
  });
  box.addEventListener("pointerleave", () => hover(null));
  plots.add(self);
  const off = onNumbers(draw);
  const size = new ResizeObserver(draw);
  size.observe(box);
  self.stop = () => {
    off();
    size.disconnect();
    plots.delete(self);
  };
  return self;
}

function hover(time) {
  hovered = time;
  requestAnimationFrame(() => plots.forEach(p => p.draw()));
}

function nearest(time) {
  let i = samples.length - 1;
  while (i > 0 && samples[i].time > time) i--;
  return i;
}

// values are the points of each series, thinned to so many: of the samples in a step, the
// highest is drawn, so that no peak is lost.
function values(series, stacked, start, most) {
  const first = samples.findIndex(s => s.time >= start);
  const step = Math.max(1, Math.ceil((samples.length - first) / most));
  const lines = series.map(() => ({points: []}));
  for (let i = Math.max(first, 0); i < samples.length; i += step) {
    let below = 0;
    series.forEach((s, n) => {
      let value = NaN;
      for (let j = i; j < Math.min(i + step, samples.length); j++) {
        const v = s.value(j);
        if (!(v <= value)) value = Number.isNaN(v) ? value : v;
      }
      if (Number.isNaN(value) && !stacked) {
        lines[n].points.push({gap: true, high: 0});
        return;
      }
      const low = stacked ? below : 0;
      below = low + (value || 0);
      lines[n].points.push({time: samples[i].time, low, high: stacked ? below : value});
    });
  }
  return lines;
}

function line(points, x, y) {
  let path = "", pen = "M";
  for (const p of points) {
    if (p.gap) pen = "M";
    else {
      path += `${pen}${x(p.time).toFixed(1)} ${y(p.high).toFixed(1)}`;
      pen = "L";
    }
  }
  return path;
}

function area(points, x, y) {
  if (!points.length) return "";
  const up = points.map(p => `${x(p.time).toFixed(1)} ${y(p.high).toFixed(1)}`);
  const back = points.map(p => `${x(p.time).toFixed(1)} ${y(p.low).toFixed(1)}`).reverse();
  return "M" + up.concat(back).join("L") + "Z";
}

// power is how often a base goes into a number.
const power = (n, base) => (n < 1 ? 0 : Math.floor(Math.log(n) / Math.log(base) + 1e-9));

// nice is the next number that people count to.
function nice(n) {
  if (n <= 0) return 1;
  const unit = 10 ** Math.floor(Math.log10(n));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find(m => m * unit >= n * 0.999) * unit;
}
