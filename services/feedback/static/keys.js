// The keyboard. One table says what each key does and is also what the help shows.
import { byId, h } from "./dom.js";
import * as items from "./items.js";

const go = (view) => () => { location.hash = `#${view}`; };
const onItems = (action) => () => { if (location.hash.startsWith("#items")) action(); };

function find() {
  if (location.hash.startsWith("#loop")) location.hash = "#ask";
  const box = byId(location.hash.startsWith("#items") ? "filter-q" : "ask-input");
  setTimeout(() => { box.focus(); box.select(); }); // after the view has changed, and so that "/" is not typed
}

const KEYS = [
  ["j", "next item", onItems(() => items.move(1))],
  ["k", "previous item", onItems(() => items.move(-1))],
  ["Enter", "open the item", null], // the focused link does it
  ["o", "open the item", onItems(items.openCurrent)],
  ["c", "correct a verdict", onItems(items.correctCurrent)],
  ["y", "that’s right", onItems(items.confirmCurrent)],
  ["u", "undo what you said", onItems(items.undoCurrent)],
  ["q", "needs a look, or newest", onItems(() => items.order())],
  ["n", "show the new items", onItems(() => items.showFresh())],
  ["/", "search or filter", find],
  ["g i", "items", go("items")],
  ["g a", "ask", go("ask")],
  ["g l", "loop", go("loop")],
  ["Esc", "close, leave the field", null],
  ["?", "this help", () => byId("help").showModal()],
];

export function start() {
  byId("help-keys").append(...KEYS.map(([key, meaning]) => h("div", {}, h("dt", {}, key.split(" ").map((one) => h("kbd", {}, one))),
    h("dd", {}, meaning))));
  byId("help-open").addEventListener("click", () => byId("help").showModal());
  let prefix = "", since = 0;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || document.querySelector("dialog[open]")) return;
    const typing = event.target.closest("input, textarea, select");
    if (event.key === "Escape") {
      if (typing) typing.blur();
      else if (/^#\w+\/./.test(location.hash)) location.hash = location.hash.split("/")[0];
      return;
    }
    if (typing) return;
    if (Date.now() - since > 1500) prefix = "";
    const pressed = `${prefix}${event.key}`;
    prefix = event.key === "g" && !prefix ? "g " : "";
    since = Date.now();
    const action = KEYS.find(([key]) => key === pressed)?.[2];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
