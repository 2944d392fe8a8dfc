// Panel "Curriculum": one card per level with attempt, trials and gate.

import { h, show } from "./dom.js";
import { count, duration, figure, labelOf, objectiveText, percent, upper } from "./format.js";

const FRACTION = /(^win_rate|drawdown|^exposure)/;
const COUNTS = ["trades", "min_trades", "days"];
const SIGNS = { "<=": "≤", ">=": "≥" };

/** The displayed level: the chosen one, else the active one, else the last one with attempts. */
export function currentLevel(run, chosen) {
  return run.levels.find((level) => level.level === chosen)
    ?? run.levels.find((level) => level.state === "searching" || level.state === "validating")
    ?? run.levels.findLast((level) => level.attempts.length) ?? run.levels[0];
}

export function showCurriculum(box, run, shown, choose) {
  if (!run) return show(box, h("p", { class: "empty" }, "No run yet. Start one: ", h("code", {}, "tradeschool optimize run"), " or ", h("code", {}, "tradeschool up"), "."));
  const idle = !run.is_active && !run.outcome;
  show(box, idle && h("p", { class: "idle", key: "idle" }, "This run is not active. Resume it: ", h("code", {}, `tradeschool optimize resume ${run.run}`), "."),
    run.levels.map((level) => card(level, level.level === shown, choose)),
    nullTest(run),
    h("p", { class: "sub", key: "holdout" }, `Holdout period, which no search reads: ${run.holdout_period}`));
}

const NULL_TEST = "Null test: the whole curriculum is repeated in surrogate markets without skill, by ordinary jobs on the queue";

/** The null test: its progress while it runs, then its result. */
function nullTest(run) {
  const { finished, planned } = run.null_progress;
  if (finished < planned && (finished > 0 || run.null_is_next)) return h("div", { class: "null", key: "null", title: NULL_TEST },
    h("div", { class: "barline" }, h("span", {}, h("b", {}, `${count(finished)} / ${count(planned)}`), " surrogate markets of the null test")),
    h("div", { class: "bar", role: "progressbar", "aria-label": "Surrogate markets of the null test", "aria-valuemin": 0, "aria-valuemax": planned, "aria-valuenow": finished },
      h("span", { class: "complete", style: { width: `${(100 * finished) / Math.max(1, planned)}%` } })));
  return run.null && h("p", { class: "sub null", key: "null", title: NULL_TEST }, `${upper(run.null.sentence)}.`);
}

function card(level, isShown, choose) {
  const attempt = level.attempts.at(-1);
  return h("article", { class: `card level ${level.state}`, key: level.level, "aria-label": `Level ${level.level}` },
    h("header", {}, h("div", {}, h("h3", {}, `${level.level}  ${level.title}`), h("div", { class: "sub" }, `${level.direction}, ${count(level.datasets.length)} datasets; ${objectiveText(level)}, sampler ${level.sampler}, pruner ${level.pruner}`)),
      h("span", { class: `chip ${level.state}` }, level.state)),
    attempt ? progress(level, attempt) : level.state === "skipped" ? h("p", { class: "sub" }, "Skipped: an earlier level failed all attempts.") : waiting(level),
    attempt?.retry && h("p", { class: "sub retry", title: "What this retry changed, and why" }, `Retry: ${attempt.retry.reason}`),
    level.gate.length > 0 && gate(level),
    level.risk && h("p", { class: "sub", key: "risk" }, sizing(level)),
    attempt?.front.length > 0 && front(level, attempt),
    level.reason && level.state !== "searching" && h("p", { class: "sub" }, level.reason),
    attempt && h("button", { class: "plain", type: "button", "aria-pressed": String(isShown), onclick: () => choose(level.level) }, isShown ? "Search shown below" : "Show search"));
}

function progress(level, attempt) {
  const share = (part) => `${(100 * part) / Math.max(1, attempt.trials)}%`;
  const parts = ["complete", "pruned", "failed"];
  const left = attempt.finished < attempt.trials ? `ETA ${duration(attempt.eta_seconds)}` : "all trials finished";
  return h("div", {},
    h("div", { class: "barline" }, h("span", {}, h("b", {}, `${count(attempt.finished)} / ${count(attempt.trials)}`), " trials"), h("span", {}, `attempt ${attempt.attempt} of ${level.retries + 1}`)),
    h("div", { class: "bar", role: "progressbar", "aria-label": `Trials of level ${level.level}`, "aria-valuemin": 0, "aria-valuemax": attempt.trials, "aria-valuenow": attempt.finished },
      parts.map((name) => h("span", { class: name, style: { width: share(attempt[name]) } }))),
    h("div", { class: "barline" }, h("span", {}, parts.map((name) => `${count(attempt[name])} ${name}`).join(", ")), h("span", {}, left)),
    level.windows > 0 && windows(level, attempt));
}

/** The windows of a walk-forward: what each chose, and its Sharpe ratio out of sample. */
function windows(level, attempt) {
  const now = attempt.window ? `window ${attempt.window} of ${level.windows}` : attempt.windows.every((row) => row.searched) && attempt.windows.length === level.windows ? "last search, on the whole range" : "";
  return h("details", { class: "front", key: "windows" }, h("summary", {}, `Walk-forward: ${now || `${level.windows} windows`}`),
    h("table", { class: "gate" },
      h("thead", {}, h("tr", {}, ["window", "choice", "Sharpe on train", "out of sample"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, attempt.windows.map((row) => h("tr", { key: String(row.window) }, h("th", { scope: "row" }, `window ${row.window}`),
        h("td", {}, !row.searched ? "searching" : row.trial === null ? "cash" : `trial ${row.trial}`),
        h("td", {}, said("sharpe", row.train_sharpe)), h("td", {}, said("sharpe", row.sharpe)))))));
}

const waiting = (level) => h("p", { class: "sub" }, `Waiting for candles: ${[...new Set(level.datasets.map((each) => each.dataset))].join(", ")}`);

/** The risk budget, and the size of the winner's account once there is one. */
const sizing = (level) => (level.size === null ? `${upper(level.risk)}.` : `Size of the winner's account: ${figure(level.size, 3)}, leverage ${figure(level.leverage, 3)}; ${level.risk}.`);

function gate(level) {
  const judged = level.gate_part === "validation";
  return h("table", { class: "gate" },
    level.attempts.length > 0 && h("caption", {}, judged ? `Gate, winner (trial ${level.winner ?? "–"}) on validation` : "Gate, best trial so far on train"),
    h("thead", { class: "hidden" }, h("tr", {}, ["criterion", "value", "required", "met"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, level.gate.map((reading) => h("tr", { class: level.attempts.length ? (reading.met ? "met" : "missed") : "" },
      h("th", { scope: "row" }, labelOf(level, reading.name)),
      level.attempts.length > 0 && h("td", { class: "read" }, reading.infinite ? "∞" : said(reading.name, reading.value), interval(reading)),
      h("td", {}, `${SIGNS[reading.sign]} ${said(reading.name, reading.target)}`),
      level.attempts.length > 0 && h("td", { class: "mark" }, reading.met ? "✓" : "✗", h("span", { class: "hidden" }, reading.met ? "met" : "failed"))))));
}

/** The Pareto front of a search with several objectives, in the order of its rule. */
const front = (level, attempt) => h("details", { class: "front", key: "front" }, h("summary", {}, `Pareto front: ${count(attempt.front.length)} trials`),
  h("table", { class: "gate" },
    h("thead", {}, h("tr", {}, ["trial", ...level.objective.map((name) => labelOf(level, name))].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, attempt.front.map((trial) => h("tr", { key: String(trial.number) }, h("th", { scope: "row" }, `trial ${trial.number}`), level.objective.map((name) => h("td", {}, said(name, trial.values[name]))))))));

/** The 95 % bootstrap confidence interval, if known. */
const interval = (reading) => reading.low !== null && h("span", { class: "interval", title: "95 % confidence interval (bootstrap)" }, `${said(reading.name, reading.low).replace(" %", "")} to ${said(reading.name, reading.high)}`);

const said = (name, value) => (FRACTION.test(name) ? percent(value) : COUNTS.includes(name) ? count(value) : figure(value, 2));
