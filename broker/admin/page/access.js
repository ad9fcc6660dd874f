// Users and rules, and why a client may do something or may not.

import {call} from "./api.js";
import {ask, attempt} from "./dialog.js";
import {button, choice, field, h, name, put, section, shown} from "./dom.js";
import {moment} from "./format.js";
import {table} from "./table.js";

const plain = {spellcheck: "false", autocapitalize: "none", autocomplete: "off"};
const roles = [["", "none"], ["viewer", "viewer: sees"], ["admin", "admin: changes"]];
const groupsOf = text => text.split(/[\s,]+/).filter(Boolean);

export function access(view) {
  return [section("May it?", explain(view)), section("Rules", rules(view)), section("Users", users(view))];
}

// explain asks the rules.
function explain(view) {
  const action = choice([["publish", "publish to"], ["subscribe", "subscribe to"], ["receive", "receive from"]], "publish", {name: "action"});
  const user = h("input", {name: "user", placeholder: "anonymous", size: 14, ...plain});
  const client = h("input", {name: "client", placeholder: "any", size: 14, ...plain});
  const topic = h("input", {name: "topic", required: true, size: 28, placeholder: "sensors/7/temperature", ...plain});
  const qos = choice([["0", "0"], ["1", "1"], ["2", "2"]], "0", {name: "qos"});
  const retain = h("input", {type: "checkbox", name: "retain"});
  const answer = h("div", {role: "status"});
  return [h("form", {class: "row", onsubmit: async event => {
    event.preventDefault();
    try {
      const e = await call("GET /rules/explain", {signal: view.signal, query: {
        user: user.value, client: client.value, action: action.value, topic: topic.value, qos: qos.value, retain: retain.checked || undefined}});
      put(answer, h("div", {class: "explained " + (e.allowed ? "good" : "bad")},
        h("p", {}, h("b", {}, e.allowed ? "Allowed" : "Denied"), e.rule ? [" by ", h("code", {}, shown(e.rule)), e.where ? ` (${shown(e.where)})` : ""] : ""),
        h("ol", {class: "lines"}, (e.lines ?? []).map(l => h("li", {}, shown(l))))));
    } catch (error) {
      if (!view.signal.aborted) put(answer, h("p", {class: "bad"}, error.message));
    }
  }}, field("User", user), field("Client", client), field("May it", action), field("Topic", topic), field("QoS", qos),
  h("div", {class: "field check"}, h("label", {}, retain, " Retain")), h("button", {type: "submit", class: "main"}, "Explain")), answer];
}

function rules(view) {
  const stored = rule => rule.where.endsWith(" of the store"); // those of files are changed there
  const made = table({caption: "Rules", key: r => r.where + r.rule, columns: [
    {head: "Rule", same: r => r.rule, cell: r => h("code", {}, shown(r.rule))},
    {head: "Where", minor: true, cell: r => shown(r.where)},
    ...(view.admin ? [{head: "", same: r => r.rule, cell: r => (stored(r) ? button("Remove", () => remove(r.rule), {"aria-label": "Remove " + shown(r.rule)}) : "")}] : []),
  ]});
  const note = h("p", {class: "quiet"});
  const body = h("div", {});
  const again = view.show(body, () => call("GET /rules", {signal: view.signal, query: {limit: 1000}}), page => {
    made.show(page.items, "There are no rules: whoever may connect may do everything.");
    put(note, page.next ? "The first 1,000 rules are shown. " : "", page.items.length ? "The first rule that fits decides; what no rule allows is denied." : "");
    return made.node.isConnected ? undefined : [note, made.node];
  }, 30);
  const remove = async rule => {
    const last = h("input", {type: "checkbox", name: "last"});
    if (await ask({title: "Remove a rule", action: "Remove", danger: true,
      content: h("div", {}, h("p", {}, h("code", {}, shown(rule))), h("label", {}, last, " It may be the last one: without any, everybody may do everything")),
      run: () => call("DELETE /rules", {query: {rule, last: last.checked || undefined}})})) await again();
  };
  if (!view.admin) return body;
  const text = h("input", {name: "rule", required: true, size: 44, placeholder: "allow user ann publish topic sensors/#", ...plain});
  const at = h("input", {type: "number", name: "position", min: 1, placeholder: "last"});
  return [h("form", {class: "row", onsubmit: async event => {
    event.preventDefault();
    if (await attempt(() => call("POST /rules", {body: {rule: text.value, position: Number(at.value) || undefined}}),
      out => (out?.first ? "The first rule: from now on what no rule allows is denied."
        : out?.shadowed_by ? `It has no effect: ${shown(out.shadowed_by.where)} is asked before it and decides all that it is about: ${shown(out.shadowed_by.rule)}`
        : "The rule is in force."))) {
      text.value = "";
      await again();
    }
  }}, field("New rule", text), field("Position", at), h("button", {type: "submit"}, "Add")), body];
}

function users(view) {
  const made = table({caption: "Users", key: u => u.name, columns: [
    {head: "User", same: u => u.name, cell: u => name(u.name)},
    {head: "Groups", same: u => (u.groups ?? []).join("\n"), cell: u => (u.groups?.length ? u.groups.map(g => [name(g), " "]) : h("span", {class: "none"}, "–"))},
    {head: "Administration", cell: u => u.role || "–"},
    {head: "State", same: u => u.disabled, cell: u => h("span", {class: "state " + (u.disabled ? "off" : "good")}, u.disabled ? "disabled" : "enabled")},
    {head: "SCRAM", minor: true, cell: u => (u.scram ? "yes" : "no")},
    {head: "Changed", minor: true, cell: u => moment(u.changed)},
    ...(view.admin ? [{head: "", same: u => JSON.stringify(u), cell: u => h("span", {class: "buttons"},
      button("Change…", () => change(u), {"aria-label": "Change " + shown(u.name)}), button("Password…", () => password(u.name), {"aria-label": "Password of " + shown(u.name)}),
      button("Delete…", () => remove(u.name), {"aria-label": "Delete " + shown(u.name)}))}] : []),
  ]});
  const note = h("p", {class: "quiet"});
  const body = h("div", {});
  const again = view.show(body, () => call("GET /users", {signal: view.signal, query: {limit: 1000}}), page => {
    made.show(page.items, "The store has no users.");
    put(note, page.next ? "The first 1,000 users are shown." : "");
    return made.node.isConnected ? undefined : [made.node, note];
  }, 30);
  const change = async u => {
    const was = (u.groups ?? []).join(" ");
    const groups = h("input", {name: "groups", value: was, ...plain});
    const role = choice(roles, u.role ?? "", {name: "role"});
    const disabled = h("input", {type: "checkbox", name: "disabled", checked: u.disabled});
    if (await ask({title: "User " + shown(u.name), action: "Change",
      content: h("div", {}, h("p", {class: "quiet"}, "If its groups change, or it is disabled, its connections are closed."), field("Groups", groups), field("Administration", role), h("label", {}, disabled, " Disabled")),
      run: () => call("PATCH /users/{name}", {path: {name: u.name}, body: {
        groups: groups.value === was ? undefined : groupsOf(groups.value), role: role.value === (u.role ?? "") ? undefined : role.value,
        disabled: disabled.checked === u.disabled ? undefined : disabled.checked}})})) await again();
  };
  const password = async user => {
    const input = h("input", {type: "password", name: "password", required: true, autocomplete: "new-password"});
    if (await ask({title: "Password of " + shown(user), action: "Set", content: h("div", {}, h("p", {class: "quiet"}, "Its connections are closed."), field("New password", input)),
      run: () => call("PUT /users/{name}/password", {path: {name: user}, body: {password: input.value}})})) await again();
  };
  const remove = async user => {
    const last = h("input", {type: "checkbox", name: "last"});
    if (await ask({title: "Delete user " + shown(user), action: "Delete", danger: true,
      content: h("div", {}, h("p", {}, "Its connections are closed."), h("label", {}, last, " It may be the last user")),
      run: () => call("DELETE /users/{name}", {path: {name: user}, query: {last: last.checked || undefined}})})) await again();
  };
  const add = async () => {
    const user = h("input", {name: "name", required: true, ...plain});
    const word = h("input", {type: "password", name: "password", required: true, autocomplete: "new-password"});
    const groups = h("input", {name: "groups", ...plain});
    const role = choice(roles, "", {name: "role"});
    if (await ask({title: "Add a user", action: "Add", content: h("div", {}, field("User name", user), field("Password", word), field("Groups", groups, "Separated by spaces."), field("Administration", role)),
      run: () => call("POST /users", {body: {name: user.value, password: word.value, groups: groupsOf(groups.value), role: role.value || undefined}})})) await again();
  };
  return [view.admin ? h("div", {class: "tools"}, button("Add a user…", add)) : null, body];
}

