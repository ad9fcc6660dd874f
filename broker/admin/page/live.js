// The numbers of the broker: ten minutes of samples, one a second, for the strip at the top
// and for the plots.

import {call} from "./api.js";
import {every} from "./poll.js";

const kept = 600;

// samples are Numbers, oldest first, each with time in milliseconds.
export const samples = [];
const listeners = new Set();

// onNumbers calls a function after each new sample until what it returns is called.
export function onNumbers(f) {
  listeners.add(f);
  return () => listeners.delete(f);
}

export const latest = () => samples.at(-1);

// perSecond is how fast a counter grows at the sample i; NaN if that is not known.
export function perSecond(i, counter) {
  if (i < 1) return NaN;
  const seconds = (samples[i].time - samples[i - 1].time) / 1000;
  const grown = counter(samples[i]) - counter(samples[i - 1]);
  return seconds <= 0 || seconds > 30 || grown < 0 ? NaN : grown / seconds; // a gap, or a new start
}

// recent is how fast a counter grows over the last seconds.
export function recent(counter, seconds = 3) {
  const last = samples.at(-1);
  if (!last) return 0;
  const from = samples.findLast(s => s.time <= last.time - seconds * 1000 + 200) ?? samples[0];
  const passed = (last.time - from.time) / 1000;
  return passed > 0 ? Math.max(0, counter(last) - counter(from)) / passed : 0;
}

function add(numbers) {
  const time = Date.parse(numbers.at);
  if (samples.length && time <= samples.at(-1).time) return;
  samples.push({...numbers, time});
  if (samples.length > kept) samples.splice(0, samples.length - kept);
}

const tell = () => listeners.forEach(f => f());

// fill fetches the samples that the broker kept.
async function fill() {
  const history = await call("GET /numbers/history");
  samples.length = 0;
  (history.items ?? []).forEach(add);
  tell();
}

async function sample() {
  const last = samples.at(-1);
  if (!last || Date.now() - last.seen > 5000) {
    await fill();
  } else {
    add(await call("GET /numbers"));
    tell();
  }
  if (samples.length) samples.at(-1).seen = Date.now();
}

let stop = null;

export async function startNumbers() {
  stop ??= every(1, sample);
  await sample();
}

export function stopNumbers() {
  stop?.();
  stop = null;
  samples.length = 0;
}

// sum adds up a list or the values of an object.
export const sum = list => Object.values(list ?? {}).reduce((a, b) => a + b, 0);
