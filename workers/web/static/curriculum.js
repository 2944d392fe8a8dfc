// The ladder: a card a level, with its attempts, trials and gate.

import { h, show } from "./dom.js";
import { count, duration, figure, percent, upper, words } from "./format.js";

const FRACTION = /(^win_rate|drawdown|^exposure)/;
const SIGNS = { "<=": "≤", ">=": "≥" };

/** The level whose search is shown: the one that was chosen, or else the busiest. */
export function currentLevel(run, chosen) {
  return run.levels.find((level) => level.level === chosen)
    ?? run.levels.find((level) => level.state === "searching" || level.state === "judging")
    ?? run.levels.findLast((level) => level.attempts.length) ?? run.levels[0];
}

export function showCurriculum(box, run, shown, choose) {
  if (!run) return show(box, h("p", { class: "empty" }, "No run yet. Begin one: ", h("code", {}, "tradeschool optimize run"), " or ", h("code", {}, "tradeschool up"), "."));
  const idle = !run.at_work && !run.outcome;
  show(box, idle && h("p", { class: "idle", key: "idle" }, "Nobody is at work on this run. Go on with: ", h("code", {}, `tradeschool optimize resume ${run.run}`), "."),
    run.levels.map((level) => card(level, level.level === shown, choose)));
}

function card(level, isShown, choose) {
  const attempt = level.attempts.at(-1);
  return h("article", { class: `card level ${level.state}`, key: level.level, "aria-label": `Level ${level.level}` },
    h("header", {}, h("div", {}, h("h3", {}, `${level.level}  ${level.title}`), h("div", { class: "sub" }, `${level.direction}, ${count(level.datasets.length)} datasets`)),
      h("span", { class: `chip ${level.state}` }, level.state)),
    attempt ? progress(level, attempt) : waiting(level),
    level.gate.length > 0 && gate(level),
    nullLine(level),
    level.reason && level.state !== "searching" && h("p", { class: "sub" }, level.reason),
    attempt && h("button", { class: "plain", type: "button", "aria-pressed": String(isShown), onclick: () => choose(level.level) }, isShown ? "Search is shown below" : "Show its search"));
}

function progress(level, attempt) {
  const share = (part) => `${(100 * part) / Math.max(1, attempt.trials)}%`;
  const parts = ["complete", "pruned", "failed"];
  const left = attempt.finished < attempt.trials ? `${duration(attempt.eta_seconds)} left` : "all done";
  return h("div", {},
    h("div", { class: "barline" }, h("span", {}, h("b", {}, `${count(attempt.finished)} / ${count(attempt.trials)}`), " trials"), h("span", {}, `attempt ${attempt.attempt} of ${level.retries + 1}`)),
    h("div", { class: "bar", role: "progressbar", "aria-label": `Trials of level ${level.level}`, "aria-valuemin": 0, "aria-valuemax": attempt.trials, "aria-valuenow": attempt.finished },
      parts.map((name) => h("span", { class: name, style: { width: share(attempt[name]) } }))),
    h("div", { class: "barline" }, h("span", {}, parts.map((name) => `${count(attempt[name])} ${name}`).join(", ")), h("span", {}, left)));
}

const waiting = (level) => h("p", { class: "sub" }, `Waits: ${[...new Set(level.datasets.map((each) => each.dataset))].join(", ")}`);

function gate(level) {
  const judged = level.gate_part === "validation";
  return h("table", { class: "gate" },
    level.attempts.length > 0 && h("caption", {}, judged ? `winner: trial ${level.winner ?? "–"}, read on validation` : "so far: the best trial, read on train"),
    h("thead", { class: "hidden" }, h("tr", {}, ["criterion", "value", "target", "met"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, level.gate.map((reading) => h("tr", { class: level.attempts.length ? (reading.met ? "met" : "missed") : "" },
      h("th", { scope: "row" }, words(reading.name)),
      level.attempts.length > 0 && h("td", { class: "read" }, reading.infinite ? "∞" : said(reading.name, reading.value), interval(reading)),
      h("td", {}, `${SIGNS[reading.sign]} ${said(reading.name, reading.target)}`),
      level.attempts.length > 0 && h("td", { class: "mark" }, reading.met ? "✓" : "✗", h("span", { class: "hidden" }, reading.met ? "met" : "missed"))))));
}

const nullLine = (level) => level.null && h("p", { class: "sub null" }, `${upper(level.null.sentence)}.`);

/** Where 95 of 100 such values would lie, as far as it is known. */
const interval = (reading) => reading.low !== null && h("span", { class: "interval", title: "95 % interval" }, `${said(reading.name, reading.low).replace(" %", "")} to ${said(reading.name, reading.high)}`);

const said = (name, value) => (FRACTION.test(name) ? percent(value) : figure(value, name === "min_trades" ? 0 : 2));
