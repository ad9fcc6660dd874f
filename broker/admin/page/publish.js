// Publishing a message, as a client would.

import {call} from "./api.js";
import {button, choice, field, h, put} from "./dom.js";
import {say} from "./dialog.js";
import {plural} from "./format.js";
import {encode} from "./payload.js";

const plain = {spellcheck: "false", autocapitalize: "none", autocomplete: "off"};

export function publish(view) {
  const topic = h("input", {name: "topic", required: true, value: view.query.get("topic") ?? "", ...plain});
  const payload = h("textarea", {name: "payload", rows: 8, ...plain});
  const kind = choice([["text", "Text"], ["hex", "Hexadecimal"]], "text", {name: "kind"});
  const qos = choice([["0", "0"], ["1", "1"], ["2", "2"]], "1", {name: "qos"});
  const retain = h("input", {type: "checkbox", name: "retain", checked: view.query.has("retain")});
  const expiry = h("input", {type: "number", name: "expiry", min: 0, max: 4294967295, placeholder: "never"});
  const type = h("input", {name: "type", placeholder: "application/json", ...plain});
  const properties = h("div", {class: "properties"});
  const wrong = h("p", {class: "bad", role: "alert"});
  const add = button("Add a user property", () => {
    const row = h("div", {class: "row"}, field("Name", h("input", plain)), field("Value", h("input", plain)), button("Remove", () => row.remove()));
    properties.append(row);
    row.querySelector("input").focus();
  });
  const send = h("button", {type: "submit", class: "main"}, "Publish");
  const form = h("form", {class: "wideform", onsubmit: async event => {
    event.preventDefault();
    put(wrong);
    send.disabled = true;
    try {
      const out = await call("POST /publish", {body: {
        topic: topic.value, payload: encode(data(kind.value, payload.value)), qos: Number(qos.value), retain: retain.checked,
        message_expiry_seconds: Number(expiry.value) || undefined, content_type: type.value || undefined,
        payload_is_text: kind.value === "text" || undefined,
        user_properties: [...properties.children].map(row => {
          const [name, value] = row.querySelectorAll("input");
          return {name: name.value, value: value.value};
        }),
      }});
      say(`Published, to ${plural(out.matched, "subscriber")}.`);
    } catch (error) {
      put(wrong, error.message);
    }
    send.disabled = false;
  }},
  field("Topic Name", topic), field("Payload", payload, "With Retain, an empty payload deletes the retained message."),
  h("div", {class: "row"}, field("Payload is", kind), field("QoS", qos), field("Expires after seconds", expiry), field("Content type", type),
    h("div", {class: "field check"}, h("label", {}, retain, " Retain"))),
  properties, wrong, h("div", {class: "actions"}, send, add));
  return form;
}

// data are the bytes of a payload as it was written.
function data(kind, text) {
  if (kind === "text") return new TextEncoder().encode(text);
  const digits = text.replace(/\s+/g, "");
  if (!/^([0-9a-f]{2})*$/i.test(digits)) throw new Error("Payload: hexadecimal has two digits from 0 to f for each byte.");
  return Uint8Array.from(digits.match(/../g) ?? [], pair => parseInt(pair, 16));
}
