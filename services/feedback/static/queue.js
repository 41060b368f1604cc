// The order of the list: newest first, or what needs a person's look (services/feedback/review.py), in groups with a heading each.
import { byId, h } from "./dom.js";

const GROUPS = {
  safety: ["May need help", "hints from words, no diagnoses: a person decides"],
  unsure: ["Unsure", "the most informative first"],
  rest: ["The rest", "sure as far as the machine can tell; newest first"],
};
const headings = new Map(); // group -> its heading in the list
let look = { safety: 0, unsure: 0, rest: 0 };
let order = "newest";

export const current = () => order;
export const inQueue = () => order === "review";
/** Whether an item asks for a look, and is not in the queue only because nobody has judged it. */
export const pressing = (item) => ["safety", "unsure"].includes(item.review?.why);
export const judged = (item) => item.review?.why === "judged";

/** Switch the order; returns whether it is another one than before. */
export function take(wanted) {
  const changed = wanted !== order;
  order = wanted;
  for (const button of document.querySelectorAll("#orders button")) button.setAttribute("aria-pressed", String(button.dataset.order === order));
  return changed;
}

function say(group) {
  const calm = group === "rest" && look.safety + look.unsure === 0;
  const [name, meaning] = calm ? ["Nothing needs a look now", "the rest, newest first"] : GROUPS[group];
  const n = look[group] ?? 0;
  headings.get(group).hidden = n === 0;
  headings.get(group).replaceChildren(h("b", {}, name), h("span", { class: "num" }, n.toLocaleString("en")), h("span", { class: "muted" }, meaning));
}

/** How much waits, as the server counts it. */
export function count(counted) {
  look = { ...look, ...counted };
  const n = look.safety + look.unsure;
  const badge = byId("look-count");
  badge.hidden = n === 0;
  badge.dataset.safety = String(look.safety > 0);
  badge.textContent = n.toLocaleString("en");
  for (const group of headings.keys()) say(group);
}

export const clear = () => headings.clear();

/** The heading that stands before this item where it begins a group, else none. */
export function heading(item) {
  const group = item.review?.why;
  if (!inQueue() || !(group in GROUPS) || headings.has(group)) return null;
  headings.set(group, h("li", { class: "group", testid: `group-${group}` }));
  say(group);
  return headings.get(group);
}
