// The menu of labels for one verdict, beside what opened it; on a phone the style sheet makes it a sheet at the bottom.
import { correct } from "./correct.js";
import { byId, h, span, toast } from "./dom.js";
import { peek, tasksOf } from "./store.js";
import { answer, holding } from "./words.js";

const number = (n) => h("kbd", {}, n < 10 ? String((n + 1) % 10) : "");

// One label holds: choosing it says so.
function choices(task, now, choose) {
  return Object.entries(task.labels).map(([label, meaning], n) =>
    h("button", { type: "button", class: "option", testid: `correct-${label}`, "aria-current": label === now ? "true" : null,
      on: { click: () => choose(label) } },
    number(n), h("b", {}, label), span("muted", meaning), label === now && h("span", { class: "now" }, "now · confirm")));
}

// Any number hold: each is switched on or off, and then all are sent together.
function switches(task, wanted, save) {
  const say = () => { save.textContent = `Save: ${answer(Object.keys(task.labels).filter((label) => wanted.has(label)))}`; };
  const options = Object.entries(task.labels).map(([label, meaning], n) => {
    const flip = ({ currentTarget }) => {
      if (!wanted.delete(label)) wanted.add(label);
      currentTarget.setAttribute("aria-checked", String(wanted.has(label)));
      say();
    };
    return h("button", { type: "button", class: "option", role: "checkbox", testid: `correct-${label}`, "aria-checked": String(wanted.has(label)),
      on: { click: flip } }, number(n), h("b", {}, label), span("muted", meaning), h("span", { class: "tick", "aria-hidden": "true" }));
  });
  say();
  return options;
}

export function openMenu(id, name, anchor) {
  const menu = byId("menu");
  const item = peek(id);
  const tasks = Object.values(tasksOf(item));
  const task = tasksOf(item)[name];
  if (!task) return toast(`Nothing can be corrected for "${name}": the label set does not have it.`);
  const why = h("input", { class: "why", testid: "why", maxlength: 500, placeholder: "Why, if you like (then choose)",
    "aria-label": "Why, optional" });
  const decision = item.decision[name];
  const choose = (labels) => { menu.close(); correct(id, name, labels, why.value.trim()); };
  const multi = task.kind === "multi";
  const wanted = new Set(decision ? holding(decision) : []);
  const save = multi && h("button", { type: "button", class: "primary save", testid: "correct-save",
    on: { click: () => choose(Object.keys(task.labels).filter((label) => wanted.has(label))) } });
  const options = multi ? switches(task, wanted, save) : choices(task, decision?.label, (label) => choose([label]));
  const stops = save ? [...options, save] : options;
  const switcher = tasks.map((one) => h("button", { type: "button", class: "task", testid: `task-${one.name}`, title: one.meaning,
    "aria-pressed": String(one.name === name), on: { click: () => openMenu(id, one.name, anchor) } }, one.name));
  menu.replaceChildren(
    h("header", {}, h("div", { class: "tasks" }, switcher),
      h("button", { type: "button", class: "quiet", "aria-label": "Close", on: { click: () => menu.close() } }, "×")),
    why, h("div", { class: "options" }, options), ...(save ? [h("div", { class: "buttons" }, save)] : []));
  menu.onkeydown = (event) => {
    if (event.target === why && event.key !== "ArrowDown") return;
    const step = { ArrowDown: 1, ArrowUp: -1, j: 1, k: -1 }[event.key];
    const side = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const digit = options[(Number(event.key) + 9) % 10];
    if (step) stops.at((stops.indexOf(document.activeElement) + step + stops.length) % stops.length).focus();
    else if (side) openMenu(id, tasks.at((tasks.findIndex((one) => one.name === name) + side) % tasks.length).name, anchor);
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
