// The only module that talks to the server. Addresses are relative, so the page also works behind a path prefix.
import { byId } from "./dom.js";

const TOKEN = "feedloop-token";

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

let asking = null; // one form for all the requests that met a 401 at the same time

function askForToken(refused) {
  asking ??= new Promise((resolve) => {
    const box = byId("token-box");
    if (refused) byId("token-text").textContent = "The server did not accept that token. Try again.";
    byId("token").value = "";
    byId("token-form").onsubmit = () => {
      sessionStorage.setItem(TOKEN, byId("token").value.trim());
      asking = null;
      resolve();
    };
    box.oncancel = (event) => event.preventDefault(); // nothing to see behind it
    box.showModal();
  });
  return asking;
}

async function send(path, options = {}) {
  for (;;) {
    const token = sessionStorage.getItem(TOKEN);
    const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
    let response;
    try {
      response = await fetch(`api/${path}`, { cache: "no-store", ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError("The server does not answer. Is Feedloop running?", 0);
    }
    if (response.status === 401) {
      if (sessionStorage.getItem(TOKEN) === token) await askForToken(Boolean(token)); // otherwise it was just given: try with it
      continue;
    }
    if (response.ok) return response;
    const body = await response.json().catch(() => ({}));
    throw new ApiError(body.error || `The server answered ${response.status}.`, response.status);
  }
}

const get = async (path) => (await send(path)).json();
const post = async (path, body) =>
  (await send(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) })).json();
const query = (params) => new URLSearchParams(Object.entries(params).filter(([, value]) => value !== "" && value !== undefined)).toString();

export const labels = (collection) => get(`labels?${query({ collection })}`);
export const care = () => get("care");
export const items = (params) => get(`items?${query({ limit: 50, ...params })}`);
export const mattered = (id) => get(`items/${encodeURIComponent(id)}/mattered`);
export const item = (id) => get(`items/${encodeURIComponent(id)}`);
export const give = (feedback) => post("feedback", { correct: "", why: "", retracts: "", ...feedback });
export const search = (q) => get(`search?${query({ q, limit: 10 })}`);
export const ask = (question) => post("ask", { question });
export const loop = () => get("loop");
export const rollback = (role) => post("models/rollback", { role });

/** Server-sent events out of a byte stream: yields {event, data}. Comments (keep-alives) and ids are passed over. */
async function* parse(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "", event = "message", data = [];
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (buffer + value).split(/\r\n|\n|\r(?!$)/);
    buffer = lines.pop();
    for (const line of lines) {
      const [, field, text] = /^([^:]*):? ?(.*)$/s.exec(line);
      if (line === "") {
        if (data.length) yield { event, data: data.join("\n") };
        event = "message";
        data = [];
      } else if (field === "event") event = text;
      else if (field === "data") data.push(text);
    }
  }
}

/**
 * Follow the stream for as long as the page is open, reconnecting with growing pauses. fetch and not EventSource, because EventSource
 * cannot send the token. `on` maps an event to its handler; `onState` hears "live" and "offline".
 */
export async function follow(on, onState) {
  let pause = 1000, hiddenAt = 0;
  let abort = new AbortController();
  const again = () => abort.abort();
  addEventListener("online", again);
  document.addEventListener("visibilitychange", () => { // a laptop that slept holds a dead connection that looks alive
    if (document.hidden) hiddenAt = Date.now();
    else if (hiddenAt && Date.now() - hiddenAt > 300000) again();
  });
  for (;;) {
    try {
      abort = new AbortController();
      const response = await send("stream", { headers: { Accept: "text/event-stream" }, signal: abort.signal });
      onState("live");
      for await (const { event, data } of parse(response.body)) {
        pause = 1000;
        // one bad event is not the end of the stream
        try { on[event]?.(JSON.parse(data)); } catch (error) { console.error("stream event", event, error); }
      }
    } catch (error) {
      if (error.name !== "AbortError" && !(error instanceof ApiError)) console.warn("stream", error.message);
    }
    onState("offline");
    await new Promise((resolve) => setTimeout(resolve, pause * (0.75 + Math.random() / 2)));
    pause = Math.min(pause * 2, 30000);
  }
}
