// What the page knows: the label set and the newest verdict of every item it has seen. Views watch it.

const known = new Map();
const watchers = [];
const STAGES = ["provisional", "final", "corrected"];

export const taxonomy = { tasks: {} }; // filled once from /api/labels

export const peek = (id) => known.get(id);
export const watch = (listener) => watchers.push(listener);

// The order of shared/events.py DocumentClassified.rank: newer facts win, a later stage breaks a tie.
function supersedes(item, other) {
  const [mine, theirs] = [Date.parse(item.as_of), Date.parse(other.as_of)];
  return mine !== theirs ? mine > theirs : STAGES.indexOf(item.stage) >= STAGES.indexOf(other.stage);
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

/** The [task, decision] pairs to show: safety first, and only where it says something; then in the order of the label set. */
export function verdicts(item) {
  const names = Object.keys(item.decision ?? {});
  const order = Object.keys(taxonomy.tasks);
  const rank = (name) => (taxonomy.tasks[name]?.safety ? -1 : order.indexOf(name) < 0 ? 99 : order.indexOf(name));
  return names
    .filter((name) => !(taxonomy.tasks[name]?.safety && item.decision[name].label === taxonomy.tasks[name].default))
    .sort((a, b) => rank(a) - rank(b))
    .map((name) => [name, item.decision[name]]);
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
