// Signing in, with a user name and password or with a token.

import {call} from "./api.js";
import {field, h, put} from "./dom.js";
import {duration} from "./format.js";

// signIn shows the form in an element, and calls entered with who has signed in.
export function signIn(element, entered) {
  const user = h("input", {name: "user", autocomplete: "username", autocapitalize: "none", spellcheck: "false"});
  const password = h("input", {name: "password", type: "password", autocomplete: "current-password"});
  const token = h("input", {name: "token", type: "password", autocomplete: "off", spellcheck: "false"});
  const wrong = h("p", {class: "bad", role: "alert"});
  const go = h("button", {type: "submit", class: "main"}, "Sign in");
  const byUser = h("div", {}, field("User name", user), field("Password", password));
  const byToken = h("div", {hidden: true}, field("Token", token, "A line of the tokens file, without its role."));
  const ways = h("fieldset", {class: "ways"}, h("legend", {class: "unseen"}, "Sign in with"),
    [["user", "User and password"], ["token", "Token"]].map(([value, text], n) =>
      h("label", {}, h("input", {type: "radio", name: "way", value, checked: n === 0}), " " + text)));
  const form = h("form", {class: "signin"},
    h("h1", {}, h("img", {src: "icon.svg", alt: "", width: 28, height: 28}), " PromptMQ"),
    ways, byUser, byToken, wrong, go);
  ways.addEventListener("change", event => {
    const usesToken = event.target.value === "token";
    byUser.hidden = usesToken;
    byToken.hidden = !usesToken;
    put(wrong);
  });
  form.addEventListener("submit", async event => {
    event.preventDefault();
    if (go.disabled) return;
    go.disabled = true;
    put(wrong);
    try {
      const body = byToken.hidden ? {user: user.value, password: password.value} : {token: token.value};
      await call("POST /session", {body});
      await entered(await call("GET /session"));
    } catch (error) {
      put(wrong, text(error, byToken.hidden));
      (byToken.hidden ? password : token).select();
    }
    go.disabled = false;
  });
  put(element, form);
  user.focus();
}

function text(error, byUser) {
  if (error.retryAfter) return `Too many attempts. Try again in ${duration(error.retryAfter)}.`;
  if (error.status === 401) return byUser ? "User name or password is wrong, or the user may not administer this broker." : "The token is wrong.";
  return error.message;
}
