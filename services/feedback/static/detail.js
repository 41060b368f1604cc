// An opened item: what was read out of it, the verdicts with their reasons, and the text itself.
import * as api from "./api.js";
import { openChip } from "./chips.js";
import { confirm, correct, undo } from "./correct.js";
import { h, outLink, outside, percent, span, when } from "./dom.js";
import { openMenu } from "./menu.js";
import { sourceName } from "./row.js";
import { care, standing, tasksOf, verdicts } from "./store.js";
import { calm, gravest, holding, inDanger, likely, rivals, settled, severity } from "./words.js";

const DECIDED = {
  rule: "a rule decided", correction: "a person corrected it", llm: "the language model decided",
  neural: "the neural head decided", fusion: "the parts together decided", default: "the default: no part spoke",
};
const PART = { rule: "rule", correction: "person", llm: "LLM", neural: "neural", default: "default" };

const tags = (words) => h("ul", { class: "tags" }, words.map((word) => h("li", { dir: "auto" }, word)));
const fact = (name, content, testid) => content && h("div", { class: "fact", testid }, h("h3", {}, name), content);
const filled = (list) => (list?.length ? list : null);

// The labels of an ordinal task in their order, with the one that holds and those that are possible.
function scale(task, decision) {
  const possible = decision.possible ?? [];
  return h("ol", { class: "scale", testid: `scale-${task.name}`, "aria-label": "in order" }, Object.keys(task.labels).map((label) =>
    h("li", { "aria-current": label === decision.label ? "true" : null, data: { possible: possible.includes(label) } }, label)));
}

// What is in doubt, and the shortest way to settle it. Where it is about somebody's safety, reading comes before choosing.
function doubt(item, name, task, decision) {
  const others = rivals(decision);
  const danger = inDanger(task, decision);
  const settle = !danger && task?.kind !== "multi" && others.length > 0 && [...holding(decision), ...others].map((label) =>
    h("button", { type: "button", class: "settle", testid: `settle-${name}-${label}`, on: { click: () => correct(item.id, name, [label]) } }, label));
  const choose = h("button", { type: "button", class: "settle", testid: `choose-${name}`, "aria-haspopup": "dialog",
    on: { click: (event) => openMenu(item.id, name, event.currentTarget) } }, "Choose");
  const words = danger ? "Unsure, and it may be that somebody needs help. Please read it and decide."
    : settle ? "Unsure. Which is it?" : others.length ? `Unsure. Possible too: ${others.join(", ")}.` : "Unsure: no label stands out.";
  return h("div", { class: "doubt", testid: `unsure-${name}` }, h("p", {}, words), h("div", { class: "settles" }, settle || choose));
}

// Asked for when somebody wants to know: the classifier reads the text up to thirty times for it, each time without some of its words.
function whichWords(item, name) {
  const out = h("div", { class: "moved", testid: `moved-${name}`, "aria-live": "polite" });
  const told = (found) => {
    const words = found.mattered[name] ?? [];
    return [
      words.length ? h("ul", { class: "tags" }, words.map((one) => h("li", { dir: "auto",
        title: `without it the neural head gives this label ${percent(one.drop)} less` }, one.words)))
        : h("p", { class: "muted" }, "No single words stand out."),
      found.head_digest !== item.head_digest && h("p", { class: "muted" }, "By the neural head that is live now, not the one of this verdict."),
    ].filter(Boolean);
  };
  const button = h("button", { type: "button", class: "settle", testid: `which-words-${name}`,
    title: "the words that moved the neural head most towards this label", on: { click: async () => {
    button.disabled = true;
    try {
      out.replaceChildren(...told(await api.mattered(item.id)));
      button.remove();
    } catch (error) {
      out.replaceChildren(h("p", { class: "muted" }, error.message));
      button.disabled = false;
    }
  } } }, "Which words?");
  return h("div", { class: "which" }, button, out);
}

function verdict(item, name, decision) {
  const task = tasksOf(item)[name];
  const parts = (decision.parts ?? []).map((part) => h("tr", { class: holding(decision).includes(part.label) ? "" : "dissent" },
    h("th", { scope: "row" }, PART[part.part] ?? part.part), h("td", {}, part.label),
    h("td", { class: "num", title: "the probability that this part gave its own answer" },
      h("meter", { value: part.probability, min: 0, max: 1, "aria-hidden": "true" }), percent(part.probability)),
    h("td", { class: "muted", dir: "auto" }, part.why)));
  const grave = severity(task, decision) > 0;
  const reasons = (decision.reasons ?? []).filter((one) => !(decision.unsure && one.startsWith("unsure"))); // said above them
  const evidence = [
    h("ul", { class: "reasons" }, reasons.map((reason) => h("li", { dir: "auto" }, reason))),
    task?.kind === "ordinal" && scale(task, decision),
    parts.length > 0 && h("table", { class: "parts" }, h("tbody", {}, parts)),
    (decision.by === "neural" || decision.by === "fusion") && decision.label && whichWords(item, name),
  ];
  return h("section", { class: "verdict", testid: `verdict-${name}` },
    h("header", {}, h("h3", {}, name), openChip(item, name),
      !grave && !settled(decision) && h("span", { class: "num", title: likely(decision), "aria-label": likely(decision) }, percent(decision.probability))),
    h("p", { class: "decided" }, DECIDED[decision.by] ?? decision.by),
    decision.unsure && doubt(item, name, task, decision),
    grave ? h("details", { class: "evidence", testid: `evidence-${name}` }, h("summary", {}, "What the machine read"),
      !settled(decision) && h("p", { class: "muted" }, `${likely(decision)[0].toUpperCase()}${likely(decision).slice(1)}`), evidence) : evidence);
}

// Calm words first, then what this is not, then where help is; the text below is for the person who reads to judge.
function careBox(item) {
  const [grave, name] = gravest(item);
  if (!grave) return null;
  const tasks = tasksOf(item);
  const by = Object.entries(item.decision).some(([one, decision]) => decision.by === "rule" && severity(tasks[one], decision)) ? "rule" : item.decision[name].by;
  return h("section", { class: "care", testid: "care", role: "note", "aria-label": "Please read this with care" },
    h("p", {}, h("b", {}, `Whoever wrote this ${calm(grave)}.`), " Please read it yourself first. ",
      by === "rule" ? "A rule of the desk brought it up, and no model may outvote it." : by === "correction" ? "A person said so." : ""),
    h("p", { class: "muted" }, care.note),
    h("div", { class: "help", testid: "help-text", dir: "auto" }, care.help.split(/\n\s*\n/).map((part) => h("p", {}, part))));
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
    ["neural head", item.head_digest], ["learned weights", item.fusion_digest],
    ["rules", item.rules_digest], ["document", item.id], ["version", item.version], ["story", item.story], ["collection", item.collection],
  ].filter(([, value]) => value);
  return h("details", { class: "provenance", testid: "provenance" }, h("summary", {}, "Where this came from"),
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
        on: { click: (event) => openMenu(item.id, Object.keys(tasksOf(item))[0], event.currentTarget) } }, "Correct", h("kbd", {}, "c")),
      given.length > 0 && h("button", { type: "button", testid: "open-undo", on: { click: () => undo(item.id) } }, "Undo",
        h("kbd", {}, "u")),
      h("span", { class: "spacer" }), h("span", { class: "stage", data: { stage: item.stage }, testid: "open-stage" }, item.stage)),
    h("div", { class: "reading" },
      h("h2", { dir: "auto", testid: "open-title" }, item.title || "(no title)"),
      h("p", { class: "byline muted" }, outside(sourceName(item)), item.author && outside(item.author),
        when(item.published_at), item.language && h("span", {}, item.language), item.url && outLink(item.url, "original ↗")),
      careBox(item),
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
