// Entry point of the page: receives the event stream and redraws the panels whose topic changed.

import { redraw } from "./charts.js";
import { h, show } from "./dom.js";
import { showCandles, showDownload } from "./candles.js";
import { currentLevel, showCurriculum } from "./curriculum.js";
import { showFigures } from "./figures.js";
import { Forward } from "./forward.js";
import { Search } from "./search.js";
import { showTimeline } from "./timeline.js";
import { Verdict } from "./verdict.js";
import { Work } from "./work.js";

const TOPICS = ["queue", "run", "candles", "download", "forward", "events"];
const AGAIN_MS = 4000; // polling interval of a run that is not the newest
const byId = (id) => document.getElementById(id);

/** State of all panels. */
const state = { queue: null, run: null, candles: null, download: null, forward: null, events: null, chosen: null, level: null, older: null };

const search = new Search();
const verdict = new Verdict();
const forward = new Forward();
const work = new Work(ask, say);

/** Call the API; returns the JSON response, or an object with `error`. */
async function ask(path, options) {
  try {
    const answer = await fetch(path, { headers: { Accept: "application/json" }, ...options });
    if (answer.status === 401) location.assign("/login");
    const said = await answer.json();
    return answer.ok ? said : { error: said.error ?? `status ${answer.status}` };
  } catch {
    return { error: "server unreachable" };
  }
}

/** The displayed run: the newest one, unless another one was chosen. */
const shownRun = () => (state.chosen ? state.older : state.run?.run ?? null);

function draw(topic) {
  const run = shownRun();
  if (topic === "queue" || topic === "run" || topic === "download") showFigures(byId("figures"), state, run);
  if (topic === "queue") work.show(state.queue);
  if (topic === "candles") showCandles(byId("p-coverage"), state.candles);
  if (topic === "download") showDownload(byId("p-download"), state.download);
  if (topic === "events") showTimeline(byId("p-timeline"), state.events);
  if (topic === "run") drawRun(run);
  if (topic === "run" || topic === "forward") forward.show(byId("p-forward"), state.forward, run, ask);
  showAlerts();
}

function drawRun(run) {
  showRuns();
  const level = run ? currentLevel(run, state.level) : null;
  showCurriculum(byId("p-curriculum"), run, level?.level, (name) => { state.level = name; drawRun(shownRun()); });
  search.show(run, level, ask);
  verdict.show(run, level, ask);
}

function showAlerts() {
  const told = new Set(TOPICS.map((topic) => state[topic]?.error).filter(Boolean));
  if (state.chosen && state.older === null) told.add(`run ${state.chosen}: not available now`);
  const notes = [state.queue?.note, stalled()].filter(Boolean);
  show(byId("alerts"), [...told].map((text) => h("p", { class: "alert", key: text }, text)),
    notes.map((text) => h("p", { class: `alert ${text === state.queue?.note ? "neutral" : "stalled"}`, key: text }, text)));
}

/** Reason why the search is stalled; empty if it is not. */
function stalled() {
  const why = state.run?.run?.stalled ?? state.queue?.queue?.stalled;
  const help = { "no workers": "no worker is connected. Start workers: tradeschool worker start -n 2", "workers suspended": "the workers are suspended. Resume them: rq resume --url REDIS_URL" };
  return why ? `Stalled: ${help[why] ?? why}` : "";
}

function showRuns() {
  const names = state.run?.runs ?? [];
  const options = names.map((name, place) => h("option", { value: place ? name : "", key: name }, name));
  show(byId("run"), options.length ? options : h("option", { value: "" }, "no run yet"));
  byId("run").value = state.chosen ?? "";
}

function say(text, kind = "") {
  const link = byId("link");
  link.className = `link ${kind}`;
  byId("link-text").textContent = text;
}

function listen() {
  const stream = new EventSource("/api/stream");
  stream.onopen = () => say("live", "live");
  stream.onerror = async () => {
    say("reconnecting", "lost");
    await ask("/api/runs"); // redirects to the login page if the session has expired
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
  };
  for (const topic of TOPICS) {
    stream.addEventListener(topic, (event) => {
      if (state.chosen && topic === "events") return;
      state[topic] = JSON.parse(event.data);
      draw(topic);
    });
  }
}

async function choose(name) {
  state.chosen = name || null;
  state.level = null;
  state.older = null;
  history.replaceState(null, "", name ? `#run=${encodeURIComponent(name)}` : location.pathname);
  await lookAtOlder();
  draw("run");
}

async function lookAtOlder() {
  const name = state.chosen;
  const path = `/api/runs/${encodeURIComponent(name ?? state.run?.run?.run ?? "")}`;
  if (name) {
    const run = await ask(path);
    state.older = run.error ? null : run;
  }
  const events = name || state.run?.run ? await ask(`${path}/events`) : null;
  if (events && !events.error && state.chosen === name) state.events = events;
  draw("events");
}

byId("run").addEventListener("change", (event) => choose(event.target.value));
byId("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* storage is disabled */ }
  redraw();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
setInterval(async () => { if (state.chosen) { await lookAtOlder(); draw("run"); } }, AGAIN_MS);

for (const topic of TOPICS) draw(topic);
work.recall();
listen();
const linked = /^#run=(.+)$/.exec(location.hash);
if (linked) choose(decodeURIComponent(linked[1]));
