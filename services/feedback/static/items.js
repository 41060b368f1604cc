// The stream of items: list, filters, the cursor, and the open item beside it.
import * as api from "./api.js";
import { confirm, openMenu, undo } from "./correct.js";
import { itemView } from "./detail.js";
import { byId, failed, h, keepFocus, plural } from "./dom.js";
import { rowView } from "./row.js";
import { peek, put, taxonomy, watch } from "./store.js";

const rows = new Map(); // document id -> its row, for the items that the list shows
let fresh = []; // ids that came through the stream and wait behind the "new" button, newest first
let next = "", total = 0, current = "", opened = "", asked = 0, loaded = false;

const filters = () => ({ q: byId("filter-q").value.trim(), label: byId("filter-label").value, stage: byId("filter-stage").value });

const row = (item) => rowView(item, { current: item.id === current, opened: item.id === opened, onFocus: () => mark(item.id) });

// A row is replaced in its place, and so is what stands in the reading pane, at the same scroll.
function refresh(item) {
  const old = rows.get(item.id);
  if (old) {
    keepFocus(old, () => {
      rows.set(item.id, row(item));
      old.replaceWith(rows.get(item.id));
      return rows.get(item.id);
    });
  }
  if (item.id !== opened) return;
  const pane = byId("detail");
  keepFocus(pane, () => {
    const [top, unfolded] = [pane.scrollTop, Boolean(pane.querySelector(".provenance")?.open)];
    pane.replaceChildren(...itemView(item, "#items"));
    pane.querySelector(".provenance").open = unfolded;
    pane.scrollTop = top;
    return pane;
  });
}

// As the server filters (services/feedback/views.py Items.page): every word must occur.
function matches(item) {
  const { q, label, stage } = filters();
  const [task, name] = label.split(":");
  return (!stage || item.stage === stage) && (!label || item.decision[task]?.label === name)
    && q.toLowerCase().split(/\s+/).every((word) => `${item.title}\n${item.text}\n${item.source?.title}`.toLowerCase().includes(word));
}

function counts() {
  const { q, label, stage } = filters();
  byId("count").textContent = loaded ? `${plural(total, "item")}${q || label || stage ? " match" : ""}` : "";
  byId("fresh").hidden = !fresh.length;
  byId("fresh").textContent = `${fresh.length} new`;
  byId("more").hidden = !next;
  byId("list-empty").hidden = !loaded || rows.size > 0;
  byId("list-empty").textContent = q || label || stage
    ? "Nothing matches these filters." : "No items yet. They appear here as soon as a source has been read.";
}

function append(list) {
  for (const item of list) {
    const known = put(item);
    if (rows.has(known.id)) continue;
    rows.set(known.id, row(known));
    byId("rows").append(rows.get(known.id));
  }
}

/** Load the list anew, with the filters as they stand. */
export async function reload() {
  const turn = ++asked;
  try {
    const page = await api.items(filters());
    if (turn !== asked) return; // an older answer that came late
    rows.clear();
    byId("rows").replaceChildren();
    [fresh, next, total, loaded] = [[], page.next ?? "", page.total ?? page.items.length, true];
    append(page.items);
    counts();
    byId("list-scroll").scrollTop = 0;
  } catch (error) { failed(error); }
}

/** When the stream is (again) there: what was missed goes behind the "new" button, what is known is brought up to date. */
export async function catchUp() {
  if (!loaded) return reload();
  try {
    const page = await api.items(filters());
    for (const item of [...page.items].reverse()) arrived(item);
  } catch (error) { failed(error); }
}

async function more() {
  if (!next || byId("more").disabled) return;
  byId("more").disabled = true;
  const turn = asked;
  try {
    const page = await api.items({ ...filters(), before: next });
    if (turn !== asked) return;
    next = page.next ?? "";
    append(page.items);
    counts();
  } catch (error) { failed(error); } finally { byId("more").disabled = false; }
}

// A new verdict on an old item that the list has not come to yet is not a new item: "more" will show it.
const beyond = (item) => next !== "" && [...rows.keys()].every((id) => Date.parse(peek(id).received_at) > Date.parse(item.received_at));

/** An item from the stream: known ones change in place, new ones wait, so that nothing moves under the reader's eyes. */
export function arrived(item) {
  const now = put(item);
  if (rows.has(now.id) || !loaded || !matches(now) || fresh.includes(now.id) || beyond(now)) return;
  fresh.unshift(now.id);
  total += 1;
  if (rows.size === 0) showFresh(false);
  else counts();
}

export function showFresh(jump = true) {
  for (const id of fresh.reverse()) {
    rows.set(id, row(peek(id)));
    byId("rows").prepend(rows.get(id));
  }
  fresh = [];
  counts();
  if (!jump) return;
  byId("list-scroll").scrollTop = 0;
  byId("rows").querySelector(".title")?.focus();
}

function mark(id) {
  rows.get(current)?.classList.remove("current");
  current = id;
  rows.get(id)?.classList.add("current");
}

const wide = matchMedia("(min-width: 900px)");

/** Move the cursor; where the open item stands beside the list, it follows. */
export function move(step) {
  const list = [...byId("rows").children];
  const at = list.findIndex((one) => one.dataset.id === current);
  const target = list[Math.max(0, Math.min(at + step, list.length - 1))];
  if (!target) return;
  if (!opened || wide.matches) target.querySelector(".title").focus({ preventScroll: true });
  mark(target.dataset.id);
  target.scrollIntoView({ block: "nearest" });
  if (opened) location.replace(`#items/${encodeURIComponent(target.dataset.id)}`); // replace: back leaves the item, not the last twenty
}

const subject = () => opened || current;
export const openCurrent = () => { if (current) location.hash = `#items/${encodeURIComponent(current)}`; };
export const confirmCurrent = () => subject() && peek(subject()) && confirm(subject());
export const undoCurrent = () => subject() && peek(subject()) && undo(subject());
export function correctCurrent() {
  const id = subject();
  const anchor = opened ? byId("detail").querySelector("[data-testid=correct-item]")
    : rows.get(id)?.querySelector(".chip:not([data-safety=true])");
  if (id && peek(id) && anchor) openMenu(id, Object.keys(taxonomy.tasks)[0], anchor);
}

/** Show the item of the route, or none. The list stays where it was. */
export async function show(id) {
  const before = rows.get(opened);
  opened = id;
  before?.classList.remove("opened");
  byId("items").classList.toggle("has-open", Boolean(id));
  if (!id) {
    byId("detail").replaceChildren(h("p", { class: "empty" }, "Nothing open. ", h("kbd", {}, "j"), " ", h("kbd", {}, "k"), " move, ",
      h("kbd", {}, "Enter"), " opens, ", h("kbd", {}, "c"), " corrects, ", h("kbd", {}, "?"), " shows every key."));
    if (!wide.matches) rows.get(current)?.querySelector(".title").focus({ preventScroll: true });
    return;
  }
  mark(id);
  rows.get(id)?.classList.add("opened");
  try {
    const item = peek(id) ?? put(await api.item(id));
    if (opened !== id) return;
    byId("detail").replaceChildren(...itemView(item, "#items"));
    byId("detail").scrollTop = 0;
    if (!wide.matches) byId("detail").focus({ preventScroll: true });
  } catch (error) {
    byId("detail").replaceChildren(h("p", { class: "empty" }, error.message, " ", h("a", { href: "#items" }, "Back to the list")));
  }
}

/** Wire the view. Called once, when the label set is known. */
export function start() {
  for (const task of Object.values(taxonomy.tasks)) {
    const group = document.createElement("optgroup");
    group.label = task.name;
    group.append(...Object.keys(task.labels).map((label) => h("option", { value: `${task.name}:${label}` }, label)));
    byId("filter-label").append(group);
  }
  let typing = 0;
  byId("filters").addEventListener("submit", (event) => { event.preventDefault(); byId("rows").querySelector(".title")?.focus(); });
  byId("filters").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(reload, 200); });
  byId("fresh").addEventListener("click", () => showFresh());
  byId("more").addEventListener("click", more);
  new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && more(), { rootMargin: "400px" }).observe(byId("more"));
  watch(refresh);
}
