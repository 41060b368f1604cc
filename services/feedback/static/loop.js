// The state of the loop: what is live, what is being trained, what was refused and why, and the health of the sources.
import * as api from "./api.js";
import { byId, failed, h, outside, percent, plural, short, span, sure, toast, when } from "./dom.js";

const PHASES = ["preparing", "training", "judging", "publishing"];
const sections = new Map(); // name -> [what it showed, its element]: a section is rebuilt only where its data changed
const unfolded = new Set(); // run ids whose checks are open, so that an update does not close them
let losses = []; // by step, of the run in progress, as far as this page has seen it
let losingRun = "";

const badge = (text, tone) => h("span", { class: `badge ${tone}` }, text);
const code = (digest) => h("code", { title: digest }, short(digest));
const heads = (...names) => h("thead", {}, h("tr", {}, names.map((name) => h("th", { scope: "col" }, name))));
const cell = (name, ...content) => h("td", { data: { name } }, content); // the name is the row's label on a phone
const card = (title, testid, ...content) => h("section", { class: "card", testid }, h("h2", { class: "label" }, title), content);
const none = (text) => h("p", { class: "muted none" }, text);

function checks(report) {
  return h("ul", { class: "checks", testid: "checks" }, report.checks.map((check) => h("li", { class: check.passed ? "pass" : "fail" },
    h("span", { class: "mark", "aria-label": check.passed ? "passed" : "failed" }, check.passed ? "✓" : "✗"),
    h("b", {}, check.name), h("span", { class: "muted", dir: "auto" }, check.detail))));
}

const accuracy = (report) => report && report.held_out > 0
  && span("num", `${percent(report.accuracy_incumbent)} → ${percent(report.accuracy_candidate)} on ${report.held_out}`);

async function rollBack(model, button) {
  const title = `Roll back ${model.role} to ${short(model.previous)}?`;
  const text = `Every replica flips from ${short(model.digest)} back to the previous one, which is still loaded. `
    + "Requests under way end with the model they began with.";
  if (!await sure(title, text, "Roll back")) return;
  button.disabled = true;
  try {
    const { digest } = await api.rollback(model.role);
    toast(`Rolling back ${model.role} to ${short(digest ?? model.previous)}; the replicas answer as they switch.`);
  } catch (error) { failed(error); } finally { button.disabled = false; }
}

function live({ live: models, replicas }) {
  if (!models.length) return card("Live", "live", none("Nothing has been published yet: the base weights answer."));
  return card("Live", "live", models.map((model) => {
    const mine = replicas.filter((replica) => replica.role === model.role);
    const canGoBack = model.previous && model.previous !== model.digest;
    const button = canGoBack && h("button", { type: "button", testid: "rollback", data: { role: model.role },
      on: { click: (event) => rollBack(model, event.currentTarget) } }, "Roll back");
    return h("div", { class: "model", data: { role: model.role } },
      h("div", { class: "model-head" }, h("span", { class: "role" }, model.role),
        h("code", { class: "digest", testid: "live-digest", title: model.digest, data: { role: model.role, digest: model.digest } },
          short(model.digest)),
        span("muted", "since ", when(model.since)), accuracy(model.report)),
      h("p", { class: "byline muted" }, model.name && h("span", {}, "served as ", h("code", {}, model.name)),
        model.reason && outside(model.reason)),
      h("p", { class: "previous" }, span("muted", "previous "), model.previous ? code(model.previous) : "none", button),
      mine.length > 0 && h("ul", { class: "replicas", testid: "replicas" }, mine.map((replica) => h("li", {},
        badge(replica.outcome, replica.outcome === "active" ? "good" : "bad"), h("span", {}, replica.replica),
        span("muted", "serves ", code(replica.serving),
          replica.probes > 0 ? ` · ${replica.probes_agreed} of ${replica.probes} probes agree` : "",
          ` · ${replica.seconds.toFixed(1)} s · `, when(replica.at)),
        replica.reason && h("span", { class: "why", data: { well: replica.outcome === "active" }, dir: "auto" }, replica.reason)))));
  }));
}

// A figure is null where the service that knows it does not answer: that is shown as unknown, never as nought.
function tiles({ documents, corrected, waiting, train_after: after, quarantined }) {
  const tile = (testid, value, name, ...rest) => h("div", { class: "tile", testid },
    h("b", { class: "num" }, typeof value === "number" ? value.toLocaleString("en") : "?"), span("muted", name), rest);
  const known = typeof waiting === "number" && after > 0;
  return h("div", { class: "tiles" }, tile("documents", documents, "documents"), tile("corrected", corrected, "corrected"),
    tile("waiting", waiting, known ? `of ${after} corrections until the next training` : "corrections waiting for the next training",
      known && h("progress", { value: Math.min(waiting, after), max: after, "aria-label": "corrections waiting" })),
    tile("quarantined", quarantined, "quarantined", quarantined > 0 && h("span", { class: "mark bad", "aria-hidden": "true" }, "!")));
}

function sparkline() {
  const seen = losses.map((loss, step) => [step, loss]).filter(Boolean);
  if (seen.length < 2) return null;
  const ns = "http://www.w3.org/2000/svg";
  const [low, high] = [Math.min, Math.max].map((pick) => pick(...seen.map(([, loss]) => loss)));
  const [first, last] = [seen[0], seen.at(-1)];
  const x = (step) => ((step - first[0]) / (last[0] - first[0])) * 100;
  const y = (loss) => 26 - ((loss - low) / (high - low || 1)) * 24;
  const points = seen.map(([step, loss]) => `${x(step)},${y(loss)}`).join(" ");
  const svg = document.createElementNS(ns, "svg");
  const label = `loss from ${first[1].toFixed(3)} to ${last[1].toFixed(3)}`;
  const attributes = { viewBox: "0 0 100 28", preserveAspectRatio: "none", class: "spark", role: "img", "aria-label": label };
  for (const [name, value] of Object.entries(attributes)) svg.setAttribute(name, value);
  svg.append(document.createElementNS(ns, "polyline"));
  svg.firstChild.setAttribute("points", points);
  return svg;
}

function training({ training: now, runs }) {
  const done = now && runs.find((run) => run.run_id === now.run_id); // its last progress may be told again after it has finished
  if (done) return card("Training", "progress", none("Idle. The last run has finished; see below."));
  if (!now) return card("Training", "progress", none("Idle. A run starts when enough corrections wait."));
  if (losingRun !== now.run_id) [losses, losingRun] = [[], now.run_id];
  if (typeof now.loss === "number") losses[now.step] = now.loss;
  const at = PHASES.indexOf(now.phase);
  const bar = now.steps > 0 ? { value: now.step, max: now.steps } : {}; // without a value it shows "busy", which is all that is known
  return card("Training", "progress",
    h("ol", { class: "phases" }, PHASES.map((phase, n) =>
      h("li", { class: n < at ? "done" : n === at ? "now" : "", "aria-current": n === at ? "step" : null }, phase))),
    h("progress", { ...bar, "aria-label": "training progress" }),
    h("p", { class: "byline" }, span("num", `${now.phase}, step ${now.step} of ${now.steps || "?"}`),
      typeof now.loss === "number" && span("num", `loss ${now.loss.toFixed(3)}`), span("muted", "run ", code(now.run_id)), when(now.at)),
    sparkline());
}

const quietly = (testid, ...text) => h("p", { class: "why", testid, data: { well: true } }, text);

function ownHead({ collection, task, examples, counts, ready, more, missing, silent }) {
  const some = silent.length < Object.keys(counts).length; // before anything was said all labels are silent, and nothing can be unlearned
  return h("div", { class: "model", testid: "own-head", data: { ready } },
    h("p", { class: "role", dir: "auto" }, `${collection}: ${task}`),
    quietly("missing", ready ? "a head is trained from these corrections" : outside(missing)),
    some && silent.length > 0 && quietly("silent", "nothing said yet of: ", outside(silent.join(", ")),
      ". Confirm some verdicts with these labels, so that the head does not unlearn them."),
    h("progress", { value: examples, max: examples + more, "aria-label": `${collection}, ${task}: corrections on the way to a head` }));
}

function own({ heads: tasks }) {
  if (!tasks?.length) return h("section", { hidden: true }); // there is no label set of one's own, or the trainer does not answer
  return card("Your own label sets", "own-heads", tasks.map(ownHead),
    h("p", { class: "byline muted" }, "Counted is what a head learns from; a part of what you say is kept to judge it by."));
}

function runsTable({ runs }) {
  const tone = { published: "good", refused: "warn", failed: "bad" };
  if (!runs.length) return card("Runs", "runs", none("No run has finished yet."));
  const body = runs.map((run) => {
    const report = run.report;
    const passed = report?.checks.filter((check) => check.passed).length;
    const fold = report && h("details",
      { open: unfolded.has(run.run_id), on: { toggle: (event) => unfolded[event.target.open ? "add" : "delete"](run.run_id) } },
      h("summary", {}, `${passed} of ${report.checks.length} passed`), checks(report));
    return h("tr", { testid: "run", data: { outcome: run.outcome } }, cell("outcome", badge(run.outcome, tone[run.outcome])),
      cell("model", span("role", run.role), " ", run.digest ? code(run.digest) : span("muted", "none")),
      cell("reason", outside(run.reason || report?.refused_because || "")), cell("accuracy", accuracy(report)),
      cell("gate", fold), cell("took", span("num", `${Math.round(run.seconds)} s`)), cell("when", when(run.finished_at)));
  });
  return card("Runs", "runs", h("table", { class: "wide" }, heads("Outcome", "Model", "Reason", "Accuracy", "Gate", "Took", "When"),
    h("tbody", {}, body)));
}

function sourcesTable({ sources }) {
  const tone = { ok: "good", unchanged: "calm", failing: "bad", gone: "bad" };
  const rank = (one) => (tone[one.state] === "bad" ? 0 : 1); // trouble first
  const body = [...sources].sort((a, b) => rank(a) - rank(b)).map((one) => h("tr", { testid: "source", data: { state: one.state } },
    cell("state", badge(one.state, tone[one.state])),
    cell("source", outside(one.source.title || one.source.id), span("muted", ` ${one.source.kind}`)),
    cell("reason", one.reason && h("span", { class: "why", data: { well: tone[one.state] !== "bad" }, dir: "auto" }, one.reason)), cell("last success", when(one.last_success)),
    cell("next poll", one.next_poll ? when(one.next_poll) : span("muted", "none")),
    cell("items", span("num", `${one.items}${one.quarantined ? ` (${one.quarantined} quarantined)` : ""}`))));
  if (!body.length) return card("Sources", "sources", none("No source has been polled yet."));
  const bad = sources.filter((one) => rank(one) === 0).length;
  return card(bad ? `Sources · ${bad} in trouble` : `Sources · all ${plural(sources.length, "source")} well`, "sources",
    h("table", { class: "wide" }, heads("State", "Source", "Reason", "Last success", "Next poll", "New items"), h("tbody", {}, body)));
}

/** Show a state of the loop, whole: it comes from the first request and from the stream alike. */
export function render(state) {
  const parts = [
    ["tiles", tiles, [state.documents, state.corrected, state.waiting, state.train_after, state.quarantined]],
    ["live", live, [state.live, state.replicas]],
    ["training", training, [state.training, state.runs.map((run) => run.run_id)]],
    ["own", own, state.heads ?? []],
    ["runs", runsTable, state.runs],
    ["sources", sourcesTable, state.sources],
  ];
  for (const [name, build, shown] of parts) {
    const key = JSON.stringify(shown);
    const [before, old] = sections.get(name) ?? [null, null];
    if (before === key) continue;
    const made = build(state);
    made.classList.add(`at-${name}`);
    if (old) old.replaceWith(made);
    else byId("loop").append(made);
    sections.set(name, [key, made]);
  }
}

export async function load() {
  try { render(await api.loop()); } catch (error) { failed(error); }
}
