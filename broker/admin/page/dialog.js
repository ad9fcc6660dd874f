// Questions before something is changed, and what is said after it.

import {button, h, put} from "./dom.js";

// say tells, also to who cannot see it, what was done.
export function say(text, bad = false) {
  const said = document.getElementById("said");
  const line = h("p", {class: bad ? "bad" : null}, text);
  put(said, line);
  setTimeout(() => line.remove(), bad ? 15_000 : 6000);
}

// ask opens a dialog with content, and returns whether its action was chosen. The action is
// run before the dialog closes; what goes wrong is said in it.
export function ask({title, content, action, run, danger}) {
  return new Promise(resolve => {
    const wrong = h("p", {class: "bad", role: "alert"});
    const yes = h("button", {type: "submit", class: danger ? "danger" : "main"}, action);
    const heading = h("h2", {id: "question"}, title);
    let done = false;
    const form = h("form", {method: "dialog"}, heading, content, wrong, h("div", {class: "actions"}, button("Cancel", () => dialog.close()), yes));
    const dialog = h("dialog", {"aria-labelledby": "question"}, form);
    form.addEventListener("submit", async event => {
      event.preventDefault();
      if (yes.disabled) return;
      yes.disabled = true;
      put(wrong);
      try {
        await run?.(form);
        done = true;
        dialog.close();
      } catch (error) {
        put(wrong, error.message);
      }
      yes.disabled = false;
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(done);
    });
    document.body.append(dialog);
    dialog.showModal();
    (form.querySelector("input, textarea, select") ?? form.querySelector("button")).focus();
  });
}

// attempt runs an action outside of a dialog and says what goes wrong.
export async function attempt(run, well) {
  try {
    const out = await run();
    if (well) say(typeof well === "function" ? well(out) : well);
    return true;
  } catch (error) {
    say(error.message, true);
    return false;
  }
}
