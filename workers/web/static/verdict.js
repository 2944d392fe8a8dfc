// Panel "Verdict": equity of the winner and of buy-and-hold, drawdown, recommendation.

import { axis, chart, cursor, date, line, times, utc } from "./charts.js";
import { h, show } from "./dom.js";
import { count, percent, upper, words } from "./format.js";

const byId = (id) => document.getElementById(id);

export class Verdict {
  constructor() {
    this.asked = undefined; // not drawn yet
  }

  async show(run, level, ask) {
    showRecommendation(byId("p-recommendation"), run);
    const key = run && level?.has_equity ? `${run.run} ${level.level} ${level.attempts.length} ${level.winner}` : null;
    if (key === this.asked) return;
    this.asked = key;
    const found = key ? await ask(`/api/runs/${encodeURIComponent(run.run)}/levels/${level.level}/equity`) : null;
    if (this.asked === key) showEquity(byId("p-equity"), found && !found.error ? found : null, level);
  }
}

const KINDS = { deploy: "good", paper_trade: "warn", do_not_deploy: "bad" };

const MARKS = { met: "✓ ", open: "? ", missed: "✗ ", warning: "! " };
const kindOf = (check) => (check.met ? "met" : check.met === null ? "open" : check.axis === "diagnostic" ? "warning" : "missed");

function showRecommendation(box, run) {
  const said = run?.recommendation;
  if (!said) return show(box, h("p", { class: "empty" }, nothingYet(run)), reportLink(run));
  const deciding = said.checks.filter((check) => check.axis !== "diagnostic");
  const met = deciding.filter((check) => check.met).length;
  show(box, h("p", { class: `verdict ${KINDS[said.action]}` }, words(said.action)), h("p", {}, `${upper(said.rule)}: ${said.reason}.`),
    h("p", { class: "empty" }, `Outcome: ${said.tier}.`, said.level && ` Candidate: the winner of level ${said.level}.`),
    said.would_change.length > 0 && h("details", { open: true }, h("summary", {}, "What would change the answer"),
      h("ul", { class: "checks" }, said.would_change.map((line) => h("li", {}, line)))),
    h("details", {}, h("summary", {}, `${count(met)} of ${count(deciding.length)} deciding checks met`),
      h("ul", { class: "checks" }, said.checks.map((check) => h("li", { class: kindOf(check) }, h("span", { class: "mark" }, MARKS[kindOf(check)]), `${check.axis}: ${check.found}`)))),
    reportLink(run));
}

/** Whether no level is left to search: each passed, failed its gate for good, or is skipped. */
const searched = (run) => run.levels.every((level) => ["passed", "failed", "skipped"].includes(level.state));

const nothingYet = (run) => (!run ? "No run yet." : run.is_active && searched(run) ? "All searches are finished. The null test and the final checks are running." : "Available at the end of the run.");

const reportLink = (run) => run?.has_report && h("p", {}, h("a", { href: `/api/runs/${encodeURIComponent(run.run)}/report`, target: "_blank", rel: "noopener" }, "Full report"));

/** Insert a gap between train, validation and test, and between the windows of a walk-forward. */
function apart(found) {
  const names = ["equity", "buy_and_hold", "drawdown"];
  const columns = Object.fromEntries(["days", ...names].map((name) => [name, []]));
  found.days.forEach((day, place) => {
    if (place && (found.part?.[place] !== found.part?.[place - 1] || found.window?.[place] !== found.window?.[place - 1] || day - found.days[place - 1] > 7)) {
      columns.days.push(day - 0.5);
      for (const name of names) columns[name].push(null);
    }
    columns.days.push(day);
    for (const name of names) columns[name].push(found[name]?.[place] ?? null);
  });
  return columns;
}

function showEquity(box, found, level) {
  if (!found) return show(box, h("p", { class: "empty" }, level?.state === "failed" && level.winner === null ? "No winner: no trial met all constraints." : "Available once a level has a winner."));
  show(box, h("div", { class: "chart", key: "equity", id: "c-equity" }), h("div", { class: "chart", key: "drawdown", id: "c-drawdown" }), h("p", { class: "empty" }, found.window ? "The winner before the first window, then every window out of sample, with a gap before each; costs included. Equity restarts at 1 on validation." : "Equity restarts at 1 on train, validation and test; costs included. Test is informative and decides nothing."));
  const { days, equity, buy_and_hold, drawdown } = apart(found);
  const sync = { ...cursor, sync: { key: "equity" } };
  chart(byId("c-equity"), () => ({
    height: 250, cursor: sync, tzDate: utc, axes: [axis({ size: 42, values: times }), axis({ size: 48 })],
    series: [{ label: "day", value: date }, line("winner", "accent", { fill: "accent-fill" }), line("buy-and-hold", "grey", { dash: [5, 4] })],
  }), ([, equity, buy_and_hold]) => `Equity of the winner: final return ${percent(equity.at(-1) - 1)}, buy-and-hold ${percent((buy_and_hold.at(-1) ?? NaN) - 1)}`)
    .feed([days.map((each) => each * 86400), equity, buy_and_hold]);
  chart(byId("c-drawdown"), () => ({
    height: 130, cursor: sync, tzDate: utc, legend: { show: false }, axes: [axis({ size: 42, values: times }), axis({ size: 48, values: (plot, ticks) => ticks.map((each) => percent(each, 0)) })],
    series: [{ label: "day", value: date }, line("drawdown", "bad", { fill: "bad-fill", width: 1 })],
  }), ([, drawdown]) => `Drawdown of the winner: maximum ${percent(-Math.min(...drawdown))}`).feed([days.map((each) => each * 86400), drawdown.map((each) => (each === null ? null : -each))]);
}
