// Search and ask. An answer is sentences with citations; each citation opens its passage in the document's own text.
import * as api from "./api.js";
import { byId, failed, h, outLink, outside, when } from "./dom.js";
import { put } from "./store.js";

let passages = []; // what the numbered routes #ask/0, #ask/1 … open
let asked = 0;

const out = (...nodes) => byId("ask-out").replaceChildren(...nodes);

function route(passage) {
  passages.push(passage);
  return `#ask/${passages.length - 1}`;
}

async function run(work, waiting) {
  const words = byId("ask-input").value.trim();
  if (!words) return byId("ask-input").focus();
  const turn = ++asked;
  passages = [];
  if (location.hash !== "#ask") location.replace("#ask");
  byId("ask-out").setAttribute("aria-busy", "true");
  out(h("p", { class: "empty", testid: "waiting" }, waiting));
  try {
    const nodes = await work(words);
    if (turn === asked) out(...nodes);
  } catch (error) {
    if (turn === asked) out(h("p", { class: "empty" }, error.message));
  } finally {
    if (turn === asked) byId("ask-out").setAttribute("aria-busy", "false");
  }
}

function hit(one) {
  return h("li", { class: "hit", testid: "hit" },
    h("a", { class: "title", href: route(one), dir: "auto" }, one.title || "(no title)"),
    h("p", { dir: "auto" }, one.passage),
    h("p", { class: "byline muted" }, outside(one.source?.title ?? one.source ?? ""), when(one.published_at),
      h("span", { class: "num", title: "how well it matches; comparable within one search only" }, `score ${Number(one.score).toFixed(3)}`),
      h("a", { href: `#items/${encodeURIComponent(one.document_id)}`, testid: "open-item" }, "open item")));
}

async function searched(words) {
  const { hits } = await api.search(words);
  if (!hits.length) return [h("p", { class: "empty", testid: "no-hits" }, "No document matches these words.")];
  return [h("h2", { class: "label" }, `${hits.length} best passages`), h("ol", { class: "hits", testid: "hits" }, hits.map(hit))];
}

async function answered(question) {
  const reply = await api.ask(question);
  const again = h("button", { type: "button", on: { click: doSearch } }, "Search for the words instead");
  if (!reply.found || !reply.answer.length) {
    return [h("div", { class: "answer not-found", testid: "ask-answer", data: { found: "false" } },
      h("p", {}, h("b", {}, "Not found in the documents.")),
      h("p", { class: "muted" }, "Feedloop answers only from what it has read, and no passage it holds answers this."), again)];
  }
  const cited = new Map(reply.citations.map((citation) => [citation.n, { ...citation, href: route(citation) }]));
  const number = (n) => cited.has(n) && h("a", { class: "cite", href: cited.get(n).href, testid: "citation", title: cited.get(n).title,
    "aria-label": `Source ${n}: ${cited.get(n).title}` }, `[${n}]`);
  return [
    h("div", { class: "answer", testid: "ask-answer", data: { found: "true" } },
      h("p", {}, reply.answer.map((one) => outside(one.sentence, one.citations.map(number), " "))),
      h("p", { class: "byline muted" }, h("span", {}, "answered by ", h("code", {}, reply.model || "base")),
        h("span", {}, "every sentence names its passage"))),
    h("h2", { class: "label" }, "Passages"),
    h("ol", { class: "hits", testid: "citations" }, [...cited.values()].map((one) => h("li", { class: "hit" },
      h("a", { class: "title", href: one.href, dir: "auto" }, `[${one.n}] ${one.title || "(no title)"}`),
        h("p", { dir: "auto" }, one.passage)))),
  ];
}

const doSearch = () => run(searched, "Searching …");
const doAsk = () => run(answered, "Reading the passages …");

// Offsets count characters as Python does (code points), JavaScript counts UTF-16 units: one emoji before the passage would shift it.
function locate(text, passage) {
  const points = Array.from(text);
  const exact = points.slice(passage.start, passage.end).join("");
  if (exact && (exact === passage.passage || !passage.passage)) {
    return [points.slice(0, passage.start).join(""), exact, points.slice(passage.end).join("")];
  }
  const at = text.indexOf(passage.passage);
  return at < 0 ? null : [text.slice(0, at), passage.passage, text.slice(at + passage.passage.length)];
}

/** Show the passage of the route in its document, or nothing. */
export async function show(index) {
  const passage = passages[Number(index)];
  byId("ask").classList.toggle("has-open", Boolean(index && passage));
  const pane = byId("passage");
  if (!index || !passage) return pane.replaceChildren(h("p", { class: "empty" },
    "A citation or a hit opens here, marked in its document."));
  try {
    const item = put(await api.item(passage.document_id));
    const found = locate(item.text, passage);
    const mark = h("mark", { testid: "passage", tabindex: "-1" }, found ? found[1] : passage.passage);
    pane.replaceChildren(
      h("div", { class: "toolbar" },
        h("a", { class: "button back", href: "#ask", testid: "back-to-ask", "aria-label": "Back to the answer" }, "←"),
        h("a", { class: "button", href: `#items/${encodeURIComponent(item.id)}`, testid: "open-item-of-passage" }, "Open item"),
        item.url && outLink(item.url, "Original ↗", { class: "button" })),
      h("div", { class: "reading" }, h("h2", { dir: "auto" }, item.title),
        h("p", { class: "byline muted" }, outside(item.source?.title || item.source?.id), when(item.published_at)),
        found ? null : h("p", { class: "note" },
          "The passage stands further on in the document, or in an older version of it; here it is by itself."),
        h("div", { class: "text", dir: "auto", testid: "passage-text" }, found ? [found[0], mark, found[2]] : mark)));
    mark.scrollIntoView({ block: "center" });
    mark.focus({ preventScroll: true });
  } catch (error) { failed(error); }
}

export function start() {
  byId("ask-form").addEventListener("submit", (event) => { event.preventDefault(); doAsk(); });
  byId("search-submit").addEventListener("click", doSearch);
  out(h("p", { class: "empty" }, "Ask in your own words, and every sentence of the answer names the passage it stands on. ",
    h("kbd", {}, "Enter"), " asks, ", h("kbd", {}, "Shift Enter"), " searches."));
  byId("ask-input").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.shiftKey) { event.preventDefault(); doSearch(); }
  });
}
