// Building blocks of the page. Text from outside enters the document here, and only as text nodes: there is no way to pass HTML.

const PLAIN = new Set(["class", "href", "type", "title", "value", "max", "min", "role", "tabindex", "placeholder", "datetime", "scope",
  "dir", "rel", "target", "maxlength"]);

/** An element. `testid` and `data` become data-* attributes, `on` holds listeners, the rest are attributes or, for booleans, properties. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (name === "testid") element.dataset.testid = value;
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (PLAIN.has(name) || name.startsWith("aria-")) element.setAttribute(name, value);
    else if (typeof value === "boolean") element[name] = value; // hidden, disabled, open
    else throw new Error(`h(): no attribute ${name}`); // style, onclick, srcdoc … have no business here
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false && child !== ""));
  return element;
}

export const span = (className, ...children) => h("span", { class: className }, ...children);
/** Text from outside, in its own direction: right-to-left marks in a title must not turn the line around it. */
export const outside = (...text) => h("span", { dir: "auto" }, text);
export const byId = (id) => document.getElementById(id);

/** A link that opens elsewhere, or plain text where the address is not http(s): javascript: and data: addresses come in with the feeds. */
export function outLink(url, text, props = {}) {
  let parsed = null;
  try { parsed = new URL(url); } catch { /* not an address: shown as text */ }
  if (!parsed || !["http:", "https:"].includes(parsed.protocol)) return outside(text || url);
  const safe = { href: parsed.href, title: parsed.href, rel: "noopener noreferrer nofollow", target: "_blank", dir: "auto" };
  return h("a", { ...props, ...safe }, text || url);
}

const DAY = 86400;

function relative(then) {
  const seconds = (Date.now() - then) / 1000;
  const size = Math.abs(seconds);
  if (size < 45) return seconds < 0 ? "in seconds" : "just now";
  const text = size < 3570 ? `${Math.round(size / 60)} min` : size < DAY ? `${Math.round(size / 3600)} h` : `${Math.round(size / DAY)} d`;
  if (size > 14 * DAY) return new Date(then).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
  return seconds < 0 ? `in ${text}` : `${text} ago`;
}

/** A time that people read ("3 min ago"), exact in its tooltip; refreshTimes keeps it true. */
export function when(iso) {
  const then = Date.parse(iso ?? "");
  if (Number.isNaN(then)) return h("span", { class: "muted" }, "never");
  return h("time", { datetime: iso, title: new Date(then).toLocaleString() }, relative(then));
}

export function refreshTimes() {
  for (const element of document.querySelectorAll("time")) {
    const text = relative(Date.parse(element.dateTime));
    if (element.textContent !== text) element.textContent = text;
  }
}

export const percent = (probability) => `${Math.round(probability * 100)}%`;
export const short = (digest) => (!digest || digest === "base" ? "base" : digest.slice(0, 12));
export const plural = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;

/** Rebuild a part of the page (`change` returns its new root) and leave the focus on the same control of it. */
export function keepFocus(root, change) {
  const held = root.contains(document.activeElement) ? document.activeElement.dataset.testid : null;
  const made = change();
  if (held) (made.querySelector(`[data-testid="${CSS.escape(held)}"]`) ?? made.querySelector("a, button"))?.focus({ preventScroll: true });
}

/** A line at the bottom for a few seconds; errors stay longer. `action` is [text, function]. */
export function toast(text, { bad = false, action = null } = {}) {
  const box = h("div", { class: `toast${bad ? " bad" : ""}`, testid: bad ? "error" : "toast" }, h("span", { dir: "auto" }, text));
  const close = () => box.remove();
  if (action) box.append(h("button", { type: "button", on: { click: () => { close(); action[1](); } } }, action[0]));
  box.append(h("button", { type: "button", class: "quiet", "aria-label": "Dismiss", on: { click: close } }, "×"));
  byId("toasts").replaceChildren(...[...byId("toasts").children].filter((one) => one.classList.contains("bad")).slice(-2), box);
  setTimeout(close, bad ? 12000 : 5000);
}

export const failed = (error) => toast(error.message, { bad: true });

/** Ask before something that is felt elsewhere. Resolves to true or false. */
export function sure(title, text, yes) {
  const box = byId("sure");
  byId("sure-title").textContent = title;
  byId("sure-text").textContent = text;
  byId("sure-yes").textContent = yes;
  box.returnValue = "no"; // Escape leaves returnValue as it was: an old "yes" must not count
  box.showModal();
  return new Promise((resolve) => box.addEventListener("close", () => resolve(box.returnValue === "yes"), { once: true }));
}
