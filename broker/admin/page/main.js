// The frame: who is signed in, which view the address names, and the strip with the numbers
// of now.

import {call, heard} from "./api.js";
import {button, h, link, put, to} from "./dom.js";
import {attempt} from "./dialog.js";
import {bytes, count, duration, rate} from "./format.js";
import {latest, onNumbers, recent, startNumbers, stopNumbers, sum} from "./live.js";
import {retryNow, startPolling} from "./poll.js";
import {View, failure} from "./view.js";
import {signIn} from "./signin.js";
import {overview} from "./overview.js";
import {clients, sessions} from "./clients.js";
import {client} from "./client.js";
import {subscriptions} from "./subscriptions.js";
import {retained} from "./retained.js";
import {publish} from "./publish.js";
import {drops} from "./drops.js";
import {store} from "./store.js";
import {access} from "./access.js";
import {bans} from "./bans.js";
import {settings} from "./settings.js";
import {log} from "./log.js";

// The views, as the navigation has them; those without a title are not in there.
const views = [
  {path: "", title: "Overview", make: overview},
  {path: "clients", title: "Clients", make: view => (view.parts[1] === undefined ? clients(view) : client(view))},
  {path: "sessions", title: "Sessions", make: sessions},
  {path: "subscriptions", title: "Subscriptions", make: subscriptions},
  {path: "retained", title: "Retained messages", short: "Retained", make: retained, group: true},
  {path: "publish", title: "Publish", make: publish, admin: true},
  {path: "drops", title: "Drops", make: drops},
  {path: "store", title: "Store", make: store, group: true},
  {path: "access", title: "Users and rules", make: access},
  {path: "bans", title: "Bans", make: bans},
  {path: "settings", title: "Configuration", make: settings},
  {path: "log", title: "Log", make: log},
];

const element = id => document.getElementById(id);
let me = null;
let current = null;
let version = "";

function route() {
  if (!me) return;
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  let parts = [];
  try {
    parts = path.split("/").map(decodeURIComponent);
  } catch { /* no address of this page */ }
  const found = views.find(v => v.path === parts[0] && (!v.admin || me.role === "admin"));
  current?.leave();
  document.querySelectorAll("dialog").forEach(d => d.close());
  current = new View(parts, new URLSearchParams(query), me);
  const heading = h("h1", {tabindex: "-1"}, found?.title ?? "Not found");
  current.heading = (title, ...shownAs) => {
    put(heading, shownAs.length ? shownAs : title);
    document.title = title + " · PromptMQ";
  };
  current.heading(heading.textContent);
  const content = found ? found.make(current) : [h("p", {}, "There is nothing at this address. ", link("#/", "Overview"))];
  put(element("main"), h("div", {class: "title"}, heading), content);
  for (const a of element("nav").querySelectorAll("a")) {
    if (a.dataset.path === parts[0]) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
  openMenu(false);
  scrollTo(0, 0);
  heading.focus({preventScroll: true});
}

function openMenu(open) {
  element("menu").setAttribute("aria-expanded", String(open));
  document.body.classList.toggle("menu", open);
}

// enter shows the page to who is signed in.
async function enter(who) {
  me = who;
  put(element("nav"), h("ul", {}, views.filter(v => !v.admin || me.role === "admin").map(v =>
    h("li", {class: v.group ? "group" : null}, h("a", {href: to([v.path]), "data-path": v.path}, v.short ?? v.title)))));
  put(element("who"), h("span", {}, me.user || me.name || "", h("small", {}, me.role)), button("Sign out", leave));
  element("top").hidden = element("nav").hidden = false;
  document.body.classList.add("in");
  startNumbers().catch(() => {});
  route();
}

async function leave() {
  if (await attempt(() => call("DELETE /session"))) signedOut();
}

// signedOut shows the form, and the view that was asked for once somebody signs in.
function signedOut() {
  if (me === null && document.body.classList.contains("out")) return;
  me = null;
  current?.leave();
  current = null;
  stopNumbers();
  element("top").hidden = element("nav").hidden = true;
  document.body.classList.remove("in");
  document.body.classList.add("out");
  document.querySelectorAll("dialog").forEach(d => d.close());
  document.title = "Sign in · PromptMQ";
  signIn(element("main"), who => {
    document.body.classList.remove("out");
    return enter(who);
  });
}

// strip shows the numbers of now, on every view.
function strip() {
  const n = latest();
  if (!n) return;
  const state = !n.ready ? ["bad", "not ready: " + (n.not_ready || "starting")] : n.overload !== "normal" ? ["warn", "overload: " + n.overload] : ["good", "ready"];
  const messages = field => () => rate(recent(s => sum(s[field])));
  const dropped = recent(s => sum(s.dropped));
  const cells = {
    state: h("span", {class: "state " + state[0]}, state[1]),
    up: duration(n.uptime_seconds),
    connections: count(n.connections),
    "in": messages("messages_in")() + " /s",
    out: messages("messages_out")() + " /s",
    dropped: h("span", {class: dropped > 0 ? "state warn" : null}, rate(dropped) + " /s"),
    "disk free": n.disk_free_bytes ? bytes(n.disk_free_bytes) : null,
    version: n.version,
  };
  put(element("strip"), Object.entries(cells).filter(([, v]) => v !== null).map(([term, v]) =>
    h("div", {class: "is-" + term.replace(" ", "-")}, h("dt", {}, term), h("dd", {}, v))));
  if (version && n.version !== version) {
    put(element("away"), h("p", {}, `The broker is now ${n.version}: this page is from ${version}.`), button("Load the new page", () => location.reload()));
    element("away").hidden = false;
  }
  version ||= n.version;
}

heard.silent = () => {
  if (!element("away").hidden) return;
  put(element("away"), h("p", {}, "The broker does not answer. What is shown is from before."), button("Try now", retryNow));
  element("away").hidden = false;
  document.body.classList.add("stale");
};
heard.answered = () => {
  if (!document.body.classList.contains("stale")) return;
  element("away").hidden = true;
  document.body.classList.remove("stale");
};
heard.unknown = signedOut;

async function begin() {
  try {
    await enter(await call("GET /session"));
  } catch (error) {
    if (error.status === 401) signedOut();
    else put(element("main"), failure(error, begin));
  }
}

element("skip").addEventListener("click", event => {
  event.preventDefault();
  element("main").focus();
});
element("menu").addEventListener("click", () => openMenu(element("menu").getAttribute("aria-expanded") !== "true"));
document.addEventListener("keydown", event => event.key === "Escape" && openMenu(false));
addEventListener("hashchange", route);
onNumbers(strip);
startPolling();
begin();
