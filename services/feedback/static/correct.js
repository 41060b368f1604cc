// Correcting, confirming and taking back. The page shows the effect at once and takes it back itself if the server refuses.
import * as api from "./api.js";
import { failed, toast } from "./dom.js";
import { peek, put, standing, tasksOf, verdicts } from "./store.js";
import { answer, holding, spoken } from "./words.js";

const undoing = new Map(); // feedback id -> the decision, stage before it, so that an undo shows at once too

const said = (kind, task, correct, why) =>
  ({ id: "", kind, task, correct, why, by: "you", given_at: new Date().toISOString() });

/** Give one correction: the labels that hold, of a task of several any number. Those that stand already are a confirmation of them. */
export async function correct(id, task, labels, why = "") {
  const item = peek(id);
  const [wanted, before] = [answer(labels), item.decision[task]];
  if (before && answer(holding(before)) === wanted) return confirm(id, [task]);
  const given = said("correction", task, wanted, why);
  const reasons = [`a person corrected it${why ? `: ${why}` : ""}`];
  const multi = tasksOf(item)[task]?.kind === "multi";
  const decision = { ...item.decision, [task]: { label: labels[0] ?? "", labels: multi ? labels : [], probability: 1, by: "correction", reasons,
    parts: before?.parts ?? [], possible: labels, unsure: false } };
  put({ ...item, decision, stage: "corrected", feedback: [...item.feedback, given] }, true);
  try {
    const { id: feedbackId, review } = await api.give({ document_id: id, kind: "correction", task, correct: wanted, why });
    undoing.set(feedbackId, { task, decision: before, stage: item.stage });
    named(id, given, feedbackId, review);
    toast(`Corrected: ${task} is ${wanted}. Kept for the next training.`, { action: ["Undo", () => undo(id)] });
  } catch (error) {
    put(item, true);
    failed(error);
  }
}

/** "That's right": one confirmation for each task shown (or for those named), because training learns task by task. */
export async function confirm(id, tasks = null) {
  const item = peek(id);
  const judged = new Set(standing(item).map((one) => one.task));
  const shown = verdicts(item);
  const open = shown.filter(([task]) => (tasks ? tasks.includes(task) : !judged.has(task)));
  // judged once, and yet it waits for a look: the text or the verdict has changed since, so all of it is confirmed anew
  const wanted = !open.length && !tasks && ["safety", "unsure"].includes(item.review?.why) ? shown : open;
  if (!wanted.length) return toast("You have already judged every verdict of this item.");
  for (const [task, decision] of wanted) {
    const given = said("confirmation", task, answer(holding(decision)), "");
    try {
      const { id: feedbackId, review } = await api.give({ document_id: id, kind: "confirmation", task, correct: given.correct });
      put({ ...peek(id), feedback: [...peek(id).feedback, given] }, true);
      named(id, given, feedbackId, review);
    } catch (error) { return failed(error); }
  }
  const words = new Set(wanted.map(([task, decision]) => spoken(task, tasksOf(item)[task], decision)));
  toast(`Confirmed: ${[...words].join(", ")}.`, { action: ["Undo", () => undo(id)] });
}

// The stream may have told of the same feedback before its POST was answered: then the one with the id stays.
function named(id, given, feedbackId, review) {
  const item = peek(id);
  const others = item.feedback.filter((one) => one.id !== feedbackId && !(one.id === "" && one.given_at === given.given_at));
  put({ ...item, review: review ?? item.review, feedback: [...others, { ...given, id: feedbackId }] }, true);
}

/** Take back the newest thing said (or the newest of one kind); confirmations that were given together go together. */
export async function undo(id, kind = "") {
  const item = peek(id);
  const list = standing(item).filter((one) => one.id);
  const newest = list.findLast((one) => !kind || one.kind === kind);
  if (!newest) return toast(standing(item).length ? "Still sending: try again in a moment." : "Nothing of yours to undo on this item.");
  const back = newest.kind === "confirmation" ? list.slice(list.findLastIndex((one) => one.kind !== "confirmation") + 1) : [newest];
  let review = item.review;
  try {
    for (const one of back) ({ review } = await api.give({ document_id: id, kind: "retraction", task: one.task, retracts: one.id }));
  } catch (error) { return failed(error); }
  const gone = new Set(back.map((one) => one.id));
  const now = peek(id);
  const before = undoing.get(newest.id);
  const feedback = now.feedback.filter((one) => !gone.has(one.id));
  const was = before ? { decision: { ...now.decision, [before.task]: before.decision }, stage: before.stage } : {};
  put({ ...now, review, feedback, ...was }, true);
  if (!before) api.item(id).then((fresh) => put(fresh, true), failed); // given before this page was opened: the server knows what it was
  toast(newest.kind === "confirmation" ? "Confirmation taken back." : "Correction taken back.");
}
