// Correcting, confirming and taking back. The page shows the effect at once and takes it back itself if the server refuses.
import * as api from "./api.js";
import { byId, failed, h, percent, span, toast } from "./dom.js";
import { peek, put, standing, taxonomy, verdicts } from "./store.js";

const undoing = new Map(); // feedback id -> the decision, stage before it, so that an undo shows at once too

const said = (kind, task, correct, why) =>
  ({ id: "", kind, task, correct, why, by: "you", given_at: new Date().toISOString() });

/** Give one correction. The label that stands already is a confirmation of it. */
export async function correct(id, task, label, why = "") {
  const item = peek(id);
  if (item.decision[task]?.label === label) return confirm(id, [task]);
  const given = said("correction", task, label, why);
  const reasons = [`a person corrected it${why ? `: ${why}` : ""}`];
  const decision = { ...item.decision,
    [task]: { label, probability: 1, by: "correction", reasons, parts: item.decision[task]?.parts ?? [] } };
  put({ ...item, decision, stage: "corrected", feedback: [...item.feedback, given] }, true);
  try {
    const { id: feedbackId } = await api.give({ document_id: id, kind: "correction", task, correct: label, why });
    undoing.set(feedbackId, { task, decision: item.decision[task], stage: item.stage });
    named(id, given, feedbackId);
    toast(`Corrected: ${task} is ${label}. Kept for the next training.`, { action: ["Undo", () => undo(id)] });
  } catch (error) {
    put(item, true);
    failed(error);
  }
}

/** "That's right": one confirmation for each task shown (or for those named), because training learns task by task. */
export async function confirm(id, tasks = null) {
  const item = peek(id);
  const spoken = new Set(standing(item).map((one) => one.task));
  const wanted = verdicts(item).filter(([task]) => (tasks ? tasks.includes(task) : !spoken.has(task)));
  if (!wanted.length) return toast("You have already judged every verdict of this item.");
  for (const [task, decision] of wanted) {
    const given = said("confirmation", task, decision.label, "");
    try {
      const { id: feedbackId } = await api.give({ document_id: id, kind: "confirmation", task, correct: decision.label });
      put({ ...peek(id), feedback: [...peek(id).feedback, given] }, true);
      named(id, given, feedbackId);
    } catch (error) { return failed(error); }
  }
  toast(`Confirmed: ${wanted.map(([, decision]) => decision.label).join(", ")}.`);
}

// The stream may have told of the same feedback before its POST was answered: then the one with the id stays.
function named(id, given, feedbackId) {
  const item = peek(id);
  const others = item.feedback.filter((one) => one.id !== feedbackId && !(one.id === "" && one.given_at === given.given_at));
  put({ ...item, feedback: [...others, { ...given, id: feedbackId }] }, true);
}

/** Take back the newest thing said (or the newest of one kind); confirmations that were given together go together. */
export async function undo(id, kind = "") {
  const item = peek(id);
  const list = standing(item).filter((one) => one.id);
  const newest = list.findLast((one) => !kind || one.kind === kind);
  if (!newest) return toast(standing(item).length ? "Still sending: try again in a moment." : "Nothing of yours to undo on this item.");
  const back = newest.kind === "confirmation" ? list.slice(list.findLastIndex((one) => one.kind !== "confirmation") + 1) : [newest];
  try {
    for (const one of back) await api.give({ document_id: id, kind: "retraction", task: one.task, retracts: one.id });
  } catch (error) { return failed(error); }
  const gone = new Set(back.map((one) => one.id));
  const now = peek(id);
  const before = undoing.get(newest.id);
  const feedback = now.feedback.filter((one) => !gone.has(one.id));
  const was = before ? { decision: { ...now.decision, [before.task]: before.decision }, stage: before.stage } : {};
  put({ ...now, feedback, ...was }, true);
  if (!before) api.item(id).then((fresh) => put(fresh, true), failed); // given before this page was opened: the server knows what it was
  toast(newest.kind === "confirmation" ? "Confirmation taken back." : "Correction taken back.");
}

/** The chips of an item: a verdict each, and a click corrects it. `prefix` keeps the test ids of list and open item apart. */
export function chips(item, prefix = "chip") {
  const given = standing(item);
  return verdicts(item).map(([task, decision]) => {
    const judged = given.findLast((one) => one.task === task);
    const name = taxonomy.tasks[task]?.safety ? `${task}: ${decision.label}` : decision.label;
    const title = `${task}: ${decision.label}, ${percent(decision.probability)} by ${decision.by}. Click to correct.`;
    const data = { task, label: decision.label, unsure: decision.probability < 0.6, safety: Boolean(taxonomy.tasks[task]?.safety) };
    return h("button", { type: "button", class: "chip", testid: `${prefix}-${task}`, title, data, "aria-haspopup": "dialog",
      "aria-label": `${task}: ${decision.label}. Correct`, on: { click: (event) => openMenu(item.id, task, event.currentTarget) } },
    h("span", { class: "pill" }, name,
      judged && h("span", { class: "by-you", "aria-label": judged.kind }, judged.kind === "correction" ? "✎" : "✓")));
  });
}

/** The menu of labels for one item, beside `anchor`; on a phone the style sheet makes it a sheet at the bottom. */
export function openMenu(id, task, anchor) {
  const menu = byId("menu");
  const tasks = Object.values(taxonomy.tasks);
  if (!taxonomy.tasks[task]) return toast(`Nothing can be corrected for "${task}": the label set does not have it.`);
  const item = peek(id);
  const why = h("input", { class: "why", testid: "why", maxlength: 500, placeholder: "Why, if you like (then choose)",
    "aria-label": "Why, optional" });
  const choose = (label) => { menu.close(); correct(id, task, label, why.value.trim()); };
  const now = item.decision[task]?.label;
  const options = Object.entries(taxonomy.tasks[task].labels).map(([label, meaning], n) =>
    h("button", { type: "button", class: "option", testid: `correct-${label}`, "aria-current": label === now ? "true" : null,
      on: { click: () => choose(label) } },
    h("kbd", {}, n < 10 ? String((n + 1) % 10) : ""), h("b", {}, label), span("muted", meaning),
    label === now && h("span", { class: "now" }, "now · confirm")));
  const switcher = tasks.map((one) => h("button", { type: "button", class: "task", testid: `task-${one.name}`, title: one.meaning,
    "aria-pressed": String(one.name === task), on: { click: () => openMenu(id, one.name, anchor) } }, one.name));
  menu.replaceChildren(
    h("header", {}, h("div", { class: "tasks" }, switcher),
      h("button", { type: "button", class: "quiet", "aria-label": "Close", on: { click: () => menu.close() } }, "×")),
    why, h("div", { class: "options" }, options));
  menu.onkeydown = (event) => {
    if (event.target === why && event.key !== "ArrowDown") return;
    const step = { ArrowDown: 1, ArrowUp: -1, j: 1, k: -1 }[event.key];
    const side = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const digit = options[(Number(event.key) + 9) % 10];
    if (step) options.at((options.indexOf(document.activeElement) + step + options.length) % options.length).focus();
    else if (side) openMenu(id, tasks.at((tasks.findIndex((one) => one.name === task) + side) % tasks.length).name, anchor);
    else if (/^\d$/.test(event.key) && digit) digit.click();
    else return;
    event.preventDefault();
  };
  menu.onclick = (event) => event.target === menu && menu.close(); // the backdrop
  if (!menu.open) menu.showModal();
  const at = anchor.getBoundingClientRect();
  menu.style.left = `${Math.max(8, Math.min(at.left, innerWidth - menu.offsetWidth - 8))}px`;
  menu.style.top = `${Math.max(8, Math.min(at.bottom + 4, innerHeight - menu.offsetHeight - 8))}px`;
  (options.find((option) => option.getAttribute("aria-current")) ?? options[0]).focus();
}
