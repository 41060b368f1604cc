// What the list is filtered by.
import { byId, h } from "./dom.js";
import { labelSets } from "./store.js";
import { holding } from "./words.js";

export const filters = () => ({ q: byId("filter-q").value.trim(), label: byId("filter-label").value, stage: byId("filter-stage").value });
export const filtered = () => Object.values(filters()).some(Boolean);

// As the server filters (services/feedback/views.py Items.page): every word must occur.
export function matches(item) {
  const { q, label, stage } = filters();
  const [task, name] = label.split(":");
  return (!stage || item.stage === stage) && (!label || (item.decision[task] && holding(item.decision[task]).includes(name)))
    && q.toLowerCase().split(/\s+/).every((word) => `${item.title}\n${item.text}\n${item.source?.title}`.toLowerCase().includes(word));
}

/** Offer the labels of all collections that the page has met, by task. */
export function labelOptions() {
  const box = byId("filter-label");
  const wanted = box.value;
  const tasks = new Map();
  for (const { tasks: own } of labelSets()) {
    for (const task of Object.values(own)) tasks.set(task.name, new Set([...(tasks.get(task.name) ?? []), ...Object.keys(task.labels)]));
  }
  box.replaceChildren(box.firstElementChild, ...[...tasks].map(([task, labels]) => {
    const group = h("optgroup", {}, [...labels].map((label) => h("option", { value: `${task}:${label}` }, label)));
    group.label = task;
    return group;
  }));
  box.value = wanted;
}
