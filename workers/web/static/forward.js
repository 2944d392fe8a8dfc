// Panel "Forward test": what the rule says now, e-value, equity and limits of the mean daily return.

import { axis, chart, cursor, date, line, times, utc } from "./charts.js";
import { h, show } from "./dom.js";
import { count, figure, percent, words } from "./format.js";

const STATES = { deploy: "passed", paper_trade: "searching", stop: "failed" };

export class Forward {
  constructor() {
    this.drawn = ""; // the forward tests that are shown, as JSON
  }

  async show(box, topic, run, ask) {
    const tests = (topic?.tests ?? []).filter((test) => test.run === run?.run);
    const drawn = JSON.stringify([run?.run ?? null, tests]);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    if (!tests.length) return show(box, h("p", { class: "empty" }, "No forward test of this run. Start one after the recommendation: ", h("code", {}, `tradeschool forward ${run?.run ?? "RUN"}`), "."));
    show(box, tests.map(card));
    for (const test of tests.filter((each) => !each.error && each.days)) {
      const found = await ask(`/api/runs/${encodeURIComponent(test.run)}/forward/${encodeURIComponent(test.name)}`);
      if (this.drawn === drawn && !found.error) draw(test, found);
    }
  }
}

function draw(test, { days, equity, lower, upper }) {
  const sync = { ...cursor, sync: { key: `forward ${test.name}` } };
  const seconds = days.map((each) => each * 86400);
  chart(document.getElementById(`c-forward-${test.name}`), () => ({
    height: 190, cursor: sync, tzDate: utc, axes: [axis({ size: 42, values: times }), axis({ size: 52 })],
    series: [{ label: "day", value: date }, line("equity", "accent", { fill: "accent-fill" })],
  }), ([, equity]) => `Equity of the forward test: ${percent(equity.at(-1) - 1)} after ${count(equity.length)} days`)
    .feed([seconds, equity]);
  chart(document.getElementById(`c-limits-${test.name}`), () => ({
    height: 150, cursor: sync, tzDate: utc, axes: [axis({ size: 42, values: times }), axis({ size: 52, values: (plot, ticks) => ticks.map((each) => percent(each, 2)) })],
    series: [{ label: "day", value: date }, line("lower limit", "good"), line("upper limit", "bad", { dash: [5, 4] })],
  }), ([, lower, upper]) => `Limits of the mean daily return: ${percent(lower.at(-1) ?? NaN, 3)} to ${percent(upper.at(-1) ?? NaN, 3)}`)
    .feed([seconds, lower, upper]);
}

function card(test) {
  const head = h("header", {}, h("div", {}, h("h3", {}, test.name), h("div", { class: "sub" }, test.error ? "" : `level ${test.level}, trial ${test.trial}, size ${figure(test.size, 2)}, from ${test.start}${test.is_replay ? `, replay to ${test.end}` : ""}`)),
    !test.error && h("span", { class: `chip ${STATES[test.action]}` }, words(test.action)));
  if (test.error) return h("article", { class: "card level failed", key: test.name, "aria-label": `Forward test ${test.name}` }, head, h("p", { class: "alert" }, test.error));
  return h("article", { class: `card level ${STATES[test.action]}`, key: test.name, "aria-label": `Forward test ${test.name}` }, head,
    h("p", { class: "sub" }, `${test.reason}.`), progress(test), readings(test),
    h("div", { class: "chart", key: `equity ${test.name}`, id: `c-forward-${test.name}` }), h("div", { class: "chart", key: `limits ${test.name}`, id: `c-limits-${test.name}` }),
    h("details", { key: "rule" }, h("summary", {}, "Rule, written before the first day"), h("ul", { class: "checks" }, test.rule.map((each) => h("li", {}, each)))),
    test.known_days > 0 && h("p", { class: "sub", key: "known" }, `${count(test.known_days)} of ${count(test.days)} days had ended before the rule was written.`),
    test.read_days > 0 && h("p", { class: "sub", key: "read" }, `${count(test.read_days)} of ${count(test.days)} days were read by the search: they are no evidence.`));
}

/** E-value on a logarithmic scale: it starts at 1, and grows by a factor. */
function progress(test) {
  const share = Math.min(1, Math.max(0, Math.log(test.e_value) / Math.log(test.e_value_required)));
  return h("div", {}, h("div", { class: "barline" }, h("span", {}, h("b", {}, figure(test.e_value, 2)), ` e-value of ${figure(test.e_value_required, 1)}`), h("span", {}, `day ${count(test.days)} of ${count(test.max_days)} at most`)),
    h("div", { class: "bar", role: "progressbar", "aria-label": `E-value of forward test ${test.name}`, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.round(100 * share) }, h("span", { class: "complete", style: { width: `${100 * share}%` } })));
}

function readings(test) {
  const rows = [["equity", figure(test.equity, 4)], ["maximum drawdown", percent(test.drawdown)], ["Sharpe ratio", figure(test.sharpe, 2)],
    ["mean daily return", percent(test.mean, 3)], ["lower limit", percent(test.lower, 3)], ["upper limit", percent(test.upper, 3)]];
  return h("table", { class: "gate" }, h("tbody", {}, rows.map(([name, value]) => h("tr", { key: name }, h("th", { scope: "row" }, name), h("td", {}, value)))));
}
