// Numbers, sizes and times as people read them.

const whole = new Intl.NumberFormat("en-US", {maximumFractionDigits: 0});
const tenth = new Intl.NumberFormat("en-US", {maximumFractionDigits: 1});

// count is a whole number with thousands separators.
export const count = n => whole.format(n ?? 0);

// rate is a number for each second: small ones have a decimal.
export const rate = n => (n !== 0 && Math.abs(n) < 10 ? tenth.format(n) : whole.format(n));

// short is a number for an axis.
export function short(n) {
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) if (Math.abs(n) >= size) return tenth.format(n / size) + unit;
  return Number.isInteger(n) ? String(n) : String(Number(n.toPrecision(2)));
}

// bytes is a size.
export function bytes(n) {
  if (n === undefined || n === null) return "–";
  let unit = 0;
  for (n = Number(n); Math.abs(n) >= 1024 && unit < 5; unit++) n /= 1024;
  const text = unit === 0 || n >= 100 ? whole.format(n) : n >= 10 ? tenth.format(n) : n.toFixed(2);
  return text + " " + ["B", "KiB", "MiB", "GiB", "TiB", "PiB"][unit];
}

// axisBytes and axisLatency are for an axis: without zeros that say nothing.
export const axisBytes = n => bytes(n).replace(/(\.\d*?)0+ /, (_, part) => (part === "." ? "" : part) + " ");
export const axisLatency = seconds => latency(seconds).replace(/\.0+ /, " ");

// latency is a time that something took, in seconds.
export function latency(seconds) {
  if (!seconds) return "0 ms";
  if (seconds < 0.001) return whole.format(seconds * 1e6) + " µs";
  if (seconds < 0.1) return (seconds * 1e3).toPrecision(seconds < 0.01 ? 2 : 3) + " ms";
  return seconds < 10 ? (seconds < 1 ? whole.format(seconds * 1e3) + " ms" : seconds.toFixed(2) + " s") : whole.format(seconds) + " s";
}

// duration is a time in seconds, with its two largest units.
export function duration(seconds) {
  if (Number.isNaN(seconds)) return "–";
  seconds = Math.max(0, Math.round(seconds));
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = units.findIndex(([size]) => seconds >= size);
  if (first < 0) return "0 s";
  let text = "";
  for (const [size, unit] of units.slice(first, first + 2)) {
    const n = Math.floor(seconds / size);
    seconds -= n * size;
    if (n) text += (text && " ") + n + " " + unit;
  }
  return text;
}

// since is how long ago a time is, ahead how long it is until it comes.
export const since = time => (Date.now() - Date.parse(time)) / 1000;
export const ago = time => (time ? duration(since(time)) + " ago" : "–");
export const ahead = time => (since(time) >= 0 ? "now" : "in " + duration(-since(time)));

// clock is a time of day, moment a whole time, both where the reader is.
export const clock = time => new Date(time).toLocaleTimeString("en-GB");
export function moment(time) {
  if (!time) return "–";
  const t = new Date(time);
  const two = n => String(n).padStart(2, "0");
  return `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())} ${clock(t)}`;
}

// expiry is a Session Expiry Interval.
export const expiry = seconds => (seconds === 4294967295 ? "never" : seconds === 0 ? "with its connection" : "after " + duration(seconds));

// plural is a number of things.
export const plural = (n, one, many = one + "s") => count(n) + " " + (n === 1 ? one : many);
