// What views have in common: loading, what went wrong, and refreshing.

import {isAbort} from "./api.js";
import {button, h, put} from "./dom.js";
import {every} from "./poll.js";

// A View is what is shown at an address. What was begun for it ends with it.
export class View {
  #ends = [];
  #abort = new AbortController();

  constructor(parts, query, me) {
    this.parts = parts;
    this.query = query;
    this.me = me;
    this.signal = this.#abort.signal;
  }

  // admin says whether who is signed in may change something.
  get admin() {
    return this.me.role === "admin";
  }

  // ends calls f when the view is left.
  ends(f) {
    this.#ends.push(f);
    return f;
  }

  leave() {
    this.#abort.abort();
    this.#ends.forEach(f => f());
  }

  // show puts what comes of load into an element, and does so again each so many seconds if
  // that is given. render has what was loaded, and may return new children of the element.
  // It returns a function that loads anew at once.
  show(element, load, render, seconds) {
    let shown = false;
    const again = async () => {
      try {
        const value = await load();
        if (this.signal.aborted) return;
        element.removeAttribute("aria-busy");
        const children = render(value);
        if (children !== undefined) put(element, children);
        shown = true;
      } catch (error) {
        if (isAbort(error) || this.signal.aborted) return;
        element.removeAttribute("aria-busy");
        // What is shown stays while the broker is away: the page says that it is.
        if (!shown || error.status) {
          put(element, failure(error, again));
          shown = false;
        }
        throw error;
      }
    };
    element.setAttribute("aria-busy", "true");
    if (!element.firstChild) put(element, h("p", {class: "quiet late"}, "Loading…"));
    again().catch(error => error.status === undefined && console.error(error));
    if (seconds) this.ends(every(seconds, again));
    return () => again().catch(() => {});
  }
}

// failure says what went wrong, with a way to try again.
export function failure(error, again) {
  return h("div", {class: "failure", role: "alert"}, h("p", {}, error.message), again ? button("Try again", () => again().catch(() => {})) : null);
}
