// The stream of items: list, filters, the cursor, and the open item beside it.
import * as api from "./api.js";
import { confirm, undo } from "./correct.js";
import { itemView } from "./detail.js";
import { byId, failed, h, keepFocus, plural } from "./dom.js";
import { filtered, filters, labelOptions, matches } from "./filters.js";
import { openMenu } from "./menu.js";
import * as queue from "./queue.js";
import { rowView } from "./row.js";
import { learn, peek, put, tasksOf, watch } from "./store.js";

const rows = new Map(); // document id -> its row, for the items that the list shows
let fresh = []; // ids that came through the stream and wait behind the "new" button, newest first
let next = "", total = 0, current = "", opened = "", asked = 0, loaded = false;
let gap = ""; // id of the row that stands where the cursor's was before it left the queue
let recounting = 0;

const query = () => ({ ...filters(), order: queue.current() });
const listed = () => [...byId("rows").querySelectorAll("[data-testid=item]")]; // without the headings

const row = (item) => rowView(item, { current: item.id === current, opened: item.id === opened, onFocus: () => mark(item.id) });

// What a person has judged leaves the queue; what has come to need a look waits behind the "new" button.
function settle(item, before) {
  if (!queue.inQueue() || !loaded || item.review?.why === before?.review?.why) return;
  if (queue.judged(item)) {
    const old = rows.get(item.id);
    const following = listed()[listed().indexOf(old) + 1];
    const held = old?.contains(document.activeElement);
    old?.remove();
    rows.delete(item.id);
    fresh = fresh.filter((id) => id !== item.id);
    if (opened && [current, gap].includes(item.id)) gap = following?.dataset.id ?? ""; // it stays open, to be undone; j goes on from here
    if (!opened && item.id === current) mark(following?.dataset.id ?? "");
    if (held) (opened ? byId("detail") : following?.querySelector(".title"))?.focus({ preventScroll: true });
  } else if (before && queue.pressing(item) && matches(item) && !fresh.includes(item.id)) fresh.unshift(item.id);
  recount();
  counts();
}

// A row is replaced in its place, and so is what stands in the reading pane, at the same scroll.
function refresh(item, before) {
  settle(item, before);
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
    const [top, unfolded] = [pane.scrollTop, [...pane.querySelectorAll("details[open]")].map((one) => one.dataset.testid)];
    pane.replaceChildren(...itemView(item, "#items"));
    for (const one of pane.querySelectorAll("details")) one.open = unfolded.includes(one.dataset.testid);
    pane.scrollTop = top;
    return pane;
  });
}

function counts() {
  const what = queue.inQueue() ? `${total.toLocaleString("en")} not judged yet` : `${plural(total, "item")}${filtered() ? " match" : ""}`;
  byId("count").textContent = loaded ? what : "";
  byId("fresh").hidden = !fresh.length;
  byId("fresh").textContent = `${fresh.length} new`;
  byId("more").hidden = !next;
  byId("list-empty").hidden = !loaded || rows.size > 0;
  byId("list-empty").textContent = filtered()
    ? "Nothing matches these filters." : queue.inQueue() && loaded ? "Nothing waits for you: every item has been judged."
      : "No items yet. They appear here as soon as a source has been read.";
}

function append(list) {
  for (const item of list) {
    const known = put(item);
    if (rows.has(known.id)) continue;
    if (queue.inQueue() && queue.judged(known)) continue; // since the server was asked
    fresh = fresh.filter((id) => id !== known.id);
    rows.set(known.id, row(known));
    byId("rows").append(...[queue.heading(known), rows.get(known.id)].filter(Boolean));
  }
}

// The figures, anew from the server: what comes in and what is judged elsewhere changes them, too.
function recount() {
  recounting ||= setTimeout(async () => {
    recounting = 0;
    const turn = asked;
    try {
      const page = await api.items({ ...query(), limit: 1 });
      if (turn !== asked) return;
      total = page.total;
      queue.count(page.look);
      counts();
    } catch { /* the stream says that the server is away, and the next change asks again */ }
  }, 2000); // all items are counted for it
}

const learned = async (list) => { if (await learn(...list.map((item) => item.collection))) labelOptions(); };

/** Load the list anew, with the filters as they stand. */
export async function reload() {
  const turn = ++asked;
  try {
    const page = await api.items(query());
    await learned(page.items);
    if (turn !== asked) return; // an older answer that came late
    rows.clear();
    queue.clear();
    byId("rows").replaceChildren();
    queue.count(page.look);
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
    const page = await api.items(query());
    for (const item of [...page.items].reverse()) await arrived(item);
  } catch (error) { failed(error); }
}

async function more() {
  if (!next || byId("more").disabled) return;
  byId("more").disabled = true;
  const turn = asked;
  try {
    const page = await api.items({ ...query(), before: next });
    await learned(page.items);
    if (turn !== asked) return;
    next = page.next ?? "";
    append(page.items);
    counts();
  } catch (error) { failed(error); } finally { byId("more").disabled = false; }
}

// A new verdict on an old item that the list has not come to yet is not a new item: "more" will show it.
const beyond = (item) => next !== "" && [...rows.keys()].every((id) => Date.parse(peek(id).received_at) > Date.parse(item.received_at));

/** An item from the stream: known ones change in place, new ones wait, so that nothing moves under the reader's eyes. */
export async function arrived(item) {
  await learned([item]);
  const now = put(item);
  if (loaded && matches(now)) recount();
  if (rows.has(now.id) || !loaded || !matches(now) || fresh.includes(now.id)) return;
  if (queue.inQueue() ? !queue.pressing(now) : beyond(now)) return;
  fresh.unshift(now.id);
  if (!queue.inQueue()) total += 1;
  if (rows.size === 0) showFresh(false);
  else counts();
}

export function showFresh(jump = true) {
  if (queue.inQueue()) { // where they stand in the queue, the server knows
    if (fresh.length) reload().then(() => jump && byId("rows").querySelector(".title")?.focus());
    return;
  }
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

/** Switch between newest first and what needs a look. */
export function order(wanted = queue.inQueue() ? "newest" : "review") {
  if (queue.take(wanted)) reload();
}

function mark(id) {
  gap = "";
  rows.get(current)?.classList.remove("current");
  current = id;
  rows.get(id)?.classList.add("current");
}

const wide = matchMedia("(min-width: 900px)");

/** Move the cursor; where the open item stands beside the list, it follows. */
export function move(step) {
  const list = listed();
  let at = list.findIndex((one) => one.dataset.id === current);
  if (at < 0 && gap) at = list.findIndex((one) => one.dataset.id === gap) - (step > 0 ? 1 : 0); // its row has left: on with what stands in its place
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
  if (id && peek(id) && anchor) openMenu(id, Object.keys(tasksOf(peek(id)))[0], anchor);
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
    await learned([item]);
    if (opened !== id) return;
    byId("detail").replaceChildren(...itemView(item, "#items"));
    byId("detail").scrollTop = 0;
    if (!wide.matches) byId("detail").focus({ preventScroll: true });
  } catch (error) {
    byId("detail").replaceChildren(h("p", { class: "empty" }, error.message, " ", h("a", { href: "#items" }, "Back to the list")));
  }
}

/** Wire the view. Called once, when the first label set is known. */
export function start() {
  labelOptions();
  for (const button of document.querySelectorAll("#orders button")) button.addEventListener("click", () => order(button.dataset.order));
  let typing = 0;
  byId("filters").addEventListener("submit", (event) => { event.preventDefault(); byId("rows").querySelector(".title")?.focus(); });
  byId("filters").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(reload, 200); });
  byId("fresh").addEventListener("click", () => showFresh());
  byId("more").addEventListener("click", more);
  new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && more(), { rootMargin: "400px" }).observe(byId("more"));
  watch(refresh);
}
