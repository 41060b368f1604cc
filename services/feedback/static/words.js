// How verdicts are put into words. A verdict with a safety label is a reason to look, in calm words, and never says what somebody is or has.
import { percent } from "./dom.js";
import { care, tasksOf } from "./store.js";

const SETTLED = { rule: "set by a rule", correction: "set by a person", default: "nothing speaks against it" };
const NOTHING = "none"; // of a multi-label task: no label holds (shared/taxonomy.py)

/** The labels that hold: any number of a multi-label task, one of all others. */
export const holding = (decision) => (decision.labels?.length ? decision.labels : [decision.label].filter(Boolean));

/** A person's answer as the API takes it. */
export const answer = (labels) => labels.join(", ") || NOTHING;

/** How grave a verdict is: 1 for the task's gravest safety label, 0 for none (shared/care.py severity). */
export function severity(task, decision) {
  const safety = task?.safety_labels ?? [];
  return Math.max(0, ...holding(decision).map((label) => safety.indexOf(label) + 1)) / (safety.length || 1);
}

export const calm = (grave) => (grave >= 1 ? care.gravest : care.other);

/** The gravest safety verdict of an item as [severity, task name], or [0, ""]. */
export function gravest(item) {
  const tasks = tasksOf(item);
  return Object.entries(item.decision ?? {}).map(([name, decision]) => [severity(tasks[name], decision), name])
    .reduce((a, b) => (b[0] > a[0] ? b : a), [0, ""]);
}

/** A verdict in a word or two: "sport"; of an ordinal task with its name, as "high" alone says nothing; of a multi-label task all that hold. */
export function spoken(name, task, decision) {
  const grave = severity(task, decision);
  if (grave) return calm(grave);
  const labels = answer(holding(decision));
  return task?.kind === "ordinal" || labels === NOTHING ? `${name}: ${labels}` : labels;
}

/** The other labels that are possible too, of a verdict that is unsure. */
export const rivals = (decision) => (decision.possible ?? []).filter((label) => !holding(decision).includes(label));

/** Whether a safety label is among what is possible: then the doubt is about somebody's safety. */
export const inDanger = (task, decision) => (decision.possible ?? []).some((label) => task?.safety_labels?.includes(label));

/** How likely the verdict is right, in words. What a rule or a person has set has no probability: "100%" would be a claim nobody has measured. */
export const likely = (decision) => SETTLED[decision.by] ?? `probability of this verdict: ${percent(decision.probability)}`;
export const settled = (decision) => decision.by in SETTLED;
