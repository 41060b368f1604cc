// One item in the list, in three lines: where from and by whose words, what, and the verdict.
import { chips } from "./chips.js";
import { undo } from "./correct.js";
import { h, short, span, when } from "./dom.js";
import { standing } from "./store.js";

export const sourceName = (item) => item.source?.title || item.source?.id || "unknown source";

/** The row; the title is a link stretched over it, so that the whole row opens the item and the chips still work. */
export function rowView(item, { current, opened, onFocus }) {
  const adapter = item.model ? short(item.model.adapter) : "no LLM yet";
  const open = { class: "title", href: `#items/${encodeURIComponent(item.id)}`, testid: "title", dir: "auto", on: { focus: onFocus } };
  const corrected = standing(item).some((one) => one.kind === "correction");
  const state = `row${current ? " current" : ""}${opened ? " opened" : ""}`;
  return h("li", { class: state, testid: "item", data: { id: item.id, stage: item.stage, look: item.review?.why ?? "" } },
    h("div", { class: "row-top muted" }, h("span", { class: "from", dir: "auto" }, sourceName(item)), when(item.published_at),
      span("spacer"),
      h("code", { class: "adapter", testid: "adapter", title: "the adapter whose words these are" }, adapter),
      h("span", { class: "stage", data: { stage: item.stage }, testid: "stage" }, item.stage)),
    h("a", open, item.title || "(no title)"),
    h("div", { class: "row-end" }, h("span", { class: "chips" }, chips(item)), corrected
      && h("button", { type: "button", class: "undo", testid: "undo", on: { click: () => undo(item.id, "correction") } }, "Undo")));
}
