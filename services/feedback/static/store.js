// What the page knows: the label sets, the words of care, and the newest verdict of every item it has seen. Views watch it.
import * as api from "./api.js";
import { failed } from "./dom.js";

const known = new Map();
const watchers = [];
const sets = new Map(); // collection -> its label set
const STAGES = ["provisional", "final", "corrected"];

export const care = { gravest: "", other: "", note: "", help: "" }; // filled once from /api/care

export const peek = (id) => known.get(id);
export const watch = (listener) => watchers.push(listener);

/** The tasks of an item's label set by name; none until it is learned. */
export const tasksOf = (item) => sets.get(item?.collection ?? "news")?.tasks ?? {};
export const labelSets = () => [...sets.values()];

/** Fetch the label sets of some collections that are not known yet. True where there is a new one. Items are shown all the same where that fails. */
export async function learn(...collections) {
  const wanted = [...new Set(collections)].filter((one) => one && !sets.has(one));
  for (const one of wanted) {
    try { sets.set(one, await api.labels(one)); } catch (error) {
      failed(error);
      if (error.status === 422) sets.set(one, { tasks: {} }); // no name of a collection, and never will be
    }
  }
  return wanted.length > 0;
}

// The order of shared/events.py DocumentClassified.rank: newer feedback first, then the newer reading, then a later stage.
function supersedes(item, other) {
  for (const time of ["feedback_at", "as_of"]) {
    const [mine, theirs] = [item, other].map((one) => Date.parse(one[time] ?? "") || 0);
    if (mine !== theirs) return mine > theirs;
  }
  return STAGES.indexOf(item.stage) >= STAGES.indexOf(other.stage);
}

/** Keep an item unless a newer verdict on it is known; `force` is for what the person at the page just did. Returns the one that stands. */
export function put(item, force = false) {
  const before = known.get(item.id);
  if (before && !force && !supersedes(item, before)) return before;
  const now = { feedback: [], ...item };
  known.set(now.id, now);
  for (const listener of watchers) listener(now, before);
  return now;
}

/** The [task, decision] pairs to show: safety first, and only where it says something or is unsure; then in the order of the label set. */
export function verdicts(item) {
  const tasks = tasksOf(item);
  const order = Object.keys(tasks);
  const rank = (name) => (tasks[name]?.safety ? -1 : order.indexOf(name) < 0 ? 99 : order.indexOf(name));
  return Object.entries(item.decision ?? {})
    .filter(([name, decision]) => !tasks[name]?.safety || decision.unsure || decision.label !== tasks[name].default)
    .sort(([a], [b]) => rank(a) - rank(b));
}

/** The feedback on an item that still stands: without what was taken back. */
export function standing(item) {
  const left = [];
  for (const given of item.feedback ?? []) {
    if (given.kind !== "retraction") left.push(given);
    else {
      const at = left.findLastIndex((one) => (given.retracts ? one.id === given.retracts : one.task === given.task));
      if (at >= 0) left.splice(at, 1);
    }
  }
  return left;
}
