// An opened item: what was read out of it, the verdicts with their reasons, and the text itself.
import { chips, confirm, openMenu, undo } from "./correct.js";
import { h, outLink, outside, percent, span, when } from "./dom.js";
import { sourceName } from "./row.js";
import { standing, taxonomy, verdicts } from "./store.js";

const DECIDED = {
  rule: "a rule decided", correction: "a person corrected it", llm: "the language model decided",
  neural: "the neural head decided", fusion: "the parts together decided", default: "the default: no part spoke",
};
const PART = { rule: "rule", correction: "person", llm: "LLM", neural: "neural", default: "default" };

const tags = (words) => h("ul", { class: "tags" }, words.map((word) => h("li", { dir: "auto" }, word)));
const fact = (name, content, testid) => content && h("div", { class: "fact", testid }, h("h3", {}, name), content);
const filled = (list) => (list?.length ? list : null);

function verdict(item, task, decision) {
  const parts = (decision.parts ?? []).map((part) => h("tr", { class: part.label === decision.label ? "" : "dissent" },
    h("th", { scope: "row" }, PART[part.part] ?? part.part), h("td", {}, part.label),
    h("td", { class: "num" }, h("meter", { value: part.probability, min: 0, max: 1, "aria-hidden": "true" }), percent(part.probability)),
    h("td", { class: "muted", dir: "auto" }, part.why)));
  return h("section", { class: "verdict", testid: `verdict-${task}` },
    h("header", {}, h("h3", {}, task), chips({ ...item, decision: { [task]: decision } }, "open-chip"),
      span("num", percent(decision.probability))),
    h("p", { class: "decided" }, DECIDED[decision.by] ?? decision.by),
    h("ul", { class: "reasons" }, (decision.reasons ?? []).map((reason) => h("li", { dir: "auto" }, reason))),
    parts.length > 0 && h("table", { class: "parts" }, h("tbody", {}, parts)));
}

function care(item) {
  return verdicts(item).filter(([task]) => taxonomy.tasks[task]?.safety).map(([task, decision]) =>
    h("p", { class: "care", testid: "care", role: "note" },
      h("b", {}, `${task}: ${taxonomy.tasks[task].labels[decision.label] ?? decision.label}. `),
      "A safety rule raised this and no model may outvote it. Please read it yourself first."));
}

function people(item) {
  const given = standing(item).map((one) => h("li", {},
    h("b", {}, one.kind === "correction" ? `${one.task} is ${one.correct}` : `${one.task} ${one.correct} is right`),
    ` · ${one.by}, `, when(one.given_at), one.why && h("span", { class: "muted", dir: "auto" }, ` “${one.why}”`)));
  return filled(given) && h("ul", { class: "plain" }, given);
}

function provenance(item) {
  const model = item.model;
  const pairs = [
    ["adapter", model?.adapter], ["base", model?.base], ["served as", model?.name], ["prompt", item.prompt_hash],
    ["neural head", item.head_digest],
    ["rules", item.rules_digest], ["document", item.id], ["version", item.version], ["story", item.story], ["collection", item.collection],
  ].filter(([, value]) => value);
  return h("details", { class: "provenance" }, h("summary", {}, "Where this came from"),
    h("dl", {}, pairs.map(([name, value]) => [h("dt", {}, name), h("dd", { dir: "auto" }, value)])));
}

/** The whole reading pane for one item. `back` is the hash that closes it. */
export function itemView(item, back) {
  const meta = item.metadata;
  const given = standing(item);
  return [
    h("div", { class: "toolbar" },
      h("a", { class: "button back", href: back, testid: "back", "aria-label": "Back to the list" }, "←"),
      h("button", { type: "button", testid: "confirm-item", on: { click: () => confirm(item.id) } }, "That’s right", h("kbd", {}, "y")),
      h("button", { type: "button", testid: "correct-item", "aria-haspopup": "dialog",
        on: { click: (event) => openMenu(item.id, Object.keys(taxonomy.tasks)[0], event.currentTarget) } }, "Correct", h("kbd", {}, "c")),
      given.length > 0 && h("button", { type: "button", testid: "open-undo", on: { click: () => undo(item.id) } }, "Undo",
        h("kbd", {}, "u")),
      h("span", { class: "spacer" }), h("span", { class: "stage", data: { stage: item.stage }, testid: "open-stage" }, item.stage)),
    h("div", { class: "reading" },
      h("h2", { dir: "auto", testid: "open-title" }, item.title || "(no title)"),
      h("p", { class: "byline muted" }, outside(sourceName(item)), item.author && outside(item.author),
        when(item.published_at), item.language && h("span", {}, item.language), item.url && outLink(item.url, "original ↗")),
      care(item),
      meta ? meta.summary && h("p", { class: "summary", dir: "auto", testid: "summary" }, meta.summary)
        : h("p", { class: "note", testid: "unread" },
          "The language model has not read this yet: rules and the neural head gave a provisional verdict."),
      h("div", { class: "verdicts" }, verdicts(item).map(([task, decision]) => verdict(item, task, decision))),
      fact("What people said", people(item), "given"),
      meta && h("div", { class: "facts" },
        fact("To do", filled(meta.action_items) && h("ul", { class: "plain" },
          meta.action_items.map((one) => h("li", { dir: "auto" }, one))), "action-items"),
        fact("Topics", filled(meta.key_topics) && tags(meta.key_topics), "topics"),
        fact("Entities", filled(meta.entities) && tags(meta.entities), "entities")),
      h("div", { class: "text", dir: "auto", testid: "text" }, item.text),
      item.text_ref && h("p", { class: "note" },
        `This is the beginning; the whole text has ${Math.round(item.text_ref.size / 1024).toLocaleString("en")} kB.`),
      fact("Links", filled(linksOf(item)) && h("ul", { class: "plain links" },
        linksOf(item).map((link) => h("li", {}, outLink(link.url, link.text)))), "links"),
      provenance(item)),
  ];
}

// The document's own links with their words, then those that only the metadata names; an address is told once.
function linksOf(item) {
  const all = [...(item.links ?? []), ...(item.metadata?.related_links ?? []).map((url) => ({ url, text: "" }))];
  return [...new Map(all.reverse().map((link) => [link.url, link])).values()].reverse();
}
