// A verdict as a chip: what it says at a glance, and a click corrects it.
import { h } from "./dom.js";
import { openMenu } from "./menu.js";
import { standing, tasksOf, verdicts } from "./store.js";
import { holding, likely, rivals, severity, spoken } from "./words.js";

// How far up the order of an ordinal task's labels a verdict is, in quarters: the style sheet draws it.
function level(task, decision) {
  if (task?.kind !== "ordinal") return null;
  const labels = Object.keys(task.labels);
  return String(Math.round((4 * labels.indexOf(decision.label)) / (labels.length - 1)));
}

function titleOf(name, task, decision, words) {
  if (severity(task, decision)) return `${name}: ${words}. A hint, not a diagnosis. Click to correct.`;
  const others = rivals(decision);
  const doubt = decision.unsure ? ` Unsure${others.length ? `, possible too: ${others.join(", ")}` : ""}.` : "";
  return `${name}: ${holding(decision).join(", ") || "none"}; ${likely(decision)}.${doubt} Click to correct.`;
}

function chip(item, name, decision, prefix, short = false) {
  const task = tasksOf(item)[name];
  const judged = standing(item).findLast((one) => one.task === name);
  const words = spoken(name, task, decision);
  const data = { task: name, label: decision.label, unsure: Boolean(decision.unsure), safety: severity(task, decision) > 0,
    kind: task?.kind ?? "single", level: level(task, decision) ?? "" };
  return h("button", { type: "button", class: "chip", testid: `${prefix}-${name}`, title: titleOf(name, task, decision, words), data,
    "aria-haspopup": "dialog", "aria-label": `${words.startsWith(`${name}: `) ? words : `${name}: ${words}`}${decision.unsure ? ", unsure" : ""}. Correct`,
    on: { click: (event) => openMenu(item.id, name, event.currentTarget) } },
  h("span", { class: "pill" }, short ? words.replace(`${name}: `, "") : words,
    judged && h("span", { class: "by-you", "aria-label": judged.kind }, judged.kind === "correction" ? "✎" : "✓")));
}

/** One task's chip in the open item, where the task's name stands beside it. */
export const openChip = (item, name) => chip(item, name, item.decision[name], "open-chip", true);

/** The chips of a row. Several safety verdicts say one thing there, so only the gravest is shown; the open item has them all. */
export function chips(item) {
  const tasks = tasksOf(item);
  const shown = verdicts(item).map(([name, decision]) => [name, decision, severity(tasks[name], decision)]);
  const first = shown.reduce((a, b) => (b[2] > (a?.[2] ?? 0) ? b : a), null);
  const rest = shown.filter((one) => one[2] === 0);
  return [...(first ? [first] : []), ...rest].map(([name, decision]) => chip(item, name, decision, "chip"));
}
