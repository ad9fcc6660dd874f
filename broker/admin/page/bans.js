// Addresses that may not connect for a while, because too many logins failed from there.

import {call} from "./api.js";
import {attempt} from "./dialog.js";
import {button, h, name, put, shown} from "./dom.js";
import {ahead, moment} from "./format.js";
import {table} from "./table.js";

export function bans(view) {
  const made = table({caption: "Bans", key: b => b.address, columns: [
    {head: "Address", same: b => b.address, cell: b => name(b.address)},
    {head: "Until", cell: b => moment(b.until)},
    {head: "Ends", number: true, cell: b => ahead(b.until)},
    ...(view.admin ? [{head: "", same: b => b.address, cell: b => button("Lift", () => lift(b.address), {"aria-label": "Lift the ban of " + shown(b.address)})}] : []),
  ]});
  const note = h("p", {class: "quiet"});
  const body = h("div", {});
  const again = view.show(body, () => call("GET /bans", {signal: view.signal, query: {limit: 1000}}), page => {
    made.show(page.items, "No address is banned.");
    put(note, page.next ? "The first 1,000 bans are shown." : "");
    return made.node.isConnected ? undefined : [made.node, note];
  }, 5);
  const lift = async address => {
    await attempt(() => call("DELETE /bans/{address}", {path: {address}}), `${address} may connect again.`);
    await again();
  };
  return body;
}
