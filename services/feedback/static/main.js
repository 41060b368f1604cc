// The composition root: the label set first, then the views, the route and the stream.
import * as api from "./api.js";
import { byId, failed, refreshTimes } from "./dom.js";
import * as items from "./items.js";
import * as keys from "./keys.js";
import * as loop from "./loop.js";
import * as search from "./search.js";
import { care, labelSets, learn } from "./store.js";

const VIEWS = ["items", "ask", "loop"];

function route() {
  const [name, ...rest] = location.hash.slice(1).split("/");
  const view = VIEWS.includes(name) ? name : "items";
  let argument = "";
  try { argument = decodeURIComponent(rest.join("/")); } catch { /* a mangled address shows the view */ }
  for (const one of VIEWS) byId(one).hidden = one !== view;
  for (const tab of document.querySelectorAll(".tabs a")) {
    if (tab.dataset.view === view) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  document.title = `${view[0].toUpperCase()}${view.slice(1)} · Feedloop`;
  if (view === "items") items.show(argument);
  if (view === "ask") search.show(argument);
}

function streamState(state) {
  byId("live").dataset.state = state;
  byId("live").textContent = state === "live" ? "live" : "reconnecting";
  if (state !== "live") return;
  items.catchUp(); // between the first answer and the stream, or while it was away, something may have come
  loop.load();
}

async function start() {
  if (!location.hash) history.replaceState(null, "", "#items");
  keys.start();
  search.start();
  // the frame, while the first answer is under way
  for (const one of VIEWS) byId(one).hidden = one !== (location.hash.slice(1).split("/")[0] || "items");
  for (;;) {
    try {
      Object.assign(care, await api.care());
      await learn("news");
      if (labelSets().length) break;
    } catch (error) {
      failed(error);
    }
    await new Promise((resolve) => setTimeout(resolve, 3000));
  }
  items.start();
  addEventListener("hashchange", route);
  await Promise.all([items.reload(), loop.load()]);
  route();
  setInterval(refreshTimes, 20000);
  api.follow({ item: items.arrived, loop: loop.render }, streamState);
}

start();
