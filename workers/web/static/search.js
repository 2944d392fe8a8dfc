// Panel "Search": optimization history, parameter importance and one slice plot per parameter.

import { axis, chart, cursor, dots, line } from "./charts.js";
import { h, show } from "./dom.js";
import { count, figure, objectiveText, percent, value } from "./format.js";

const byId = (id) => document.getElementById(id);
const INFEASIBLE = "infeasible";

export class Search {
  constructor() {
    this.study = null;
    this.asking = false;
    this.slices = new Map();
    this.equity_curve = chart(byId("c-search"), () => ({
      height: 280, cursor, scales: { x: { time: false } },
      axes: [axis({ label: "trial", labelSize: 18, size: 34, labelFont: "12px system-ui" }), axis({ size: 48 })],
      series: [{ label: "trial" }, dots(INFEASIBLE, "grey", { size: 5, hollow: true }), dots("feasible", "accent", { size: 6 }), line("best feasible", "second", { step: true, width: 2.5 })],
    }), ([numbers, , , best]) => `Optimization history: objective on train of ${numbers.length} trials; best feasible ${figure(best.at(-1))}`);
  }

  /** Show the latest attempt of a level; requests only new trials. */
  async show(run, level, ask) {
    const attempt = level?.attempts.at(-1);
    byId("search-of").textContent = attempt ? `level ${level.level}, attempt ${attempt.attempt}${attempt.window ? `, window ${attempt.window}` : ""}, ${objectiveText(level)} on train` : "";
    if (!attempt) return this.clear();
    const path = `/api/runs/${encodeURIComponent(run.run)}/levels/${level.level}/attempts/${attempt.attempt}`;
    if (this.study !== attempt.study) {
      this.clear();
      Object.assign(this, { study: attempt.study, rows: [], next: 0, parameters: [], important: 0 });
    }
    if (this.asking || attempt.reused + attempt.finished <= this.next) return;
    this.asking = true;
    await this.take(attempt, path, ask);
    this.asking = false;
  }

  async take(attempt, path, ask) {
    for (let more = true; more && this.study === attempt.study;) {
      const found = await ask(`${path}/trials?after=${this.next}${attempt.window ? `&window=${attempt.window}` : ""}`);
      if (found.error || this.study !== attempt.study) return;
      this.rows.push(...found.trials);
      Object.assign(this, { next: found.next, parameters: found.parameters });
      more = found.more;
    }
    this.draw();
    const isLast = this.next >= attempt.reused + attempt.trials && this.rows.length > this.important;
    if (this.rows.length >= this.important * 1.1 || isLast) {
      this.important = this.rows.length;
      const found = await ask(`${path}/importance${attempt.window ? `?window=${attempt.window}` : ""}`);
      if (!found.error && this.study === attempt.study) showImportance(found);
    }
  }

  clear() {
    this.study = null;
    this.slices.clear();
    this.equity_curve.feed([[], [], [], []]);
    show(byId("p-importance"), h("p", { class: "empty" }, "Available after ten complete trials."));
    show(byId("p-slices"), h("p", { class: "empty" }, "Available after the first trials."));
  }

  draw() {
    const rows = this.rows.filter((row) => row[1] === "complete" && Number.isFinite(row[2])).sort((one, other) => one[0] - other[0]);
    let best = null;
    const equity_curve = rows.map(([, , found, feasible]) => (best = feasible && (best === null || found > best) ? found : best));
    const pick = (wanted) => rows.map((row) => (row[3] === wanted ? row[2] : null));
    this.equity_curve.feed([rows.map((row) => row[0]), pick(false), pick(true), equity_curve]);
    this.drawSlices(rows);
  }

  drawSlices(rows) {
    const names = this.parameters;
    if (!this.slices.size && names.length) {
      show(byId("p-slices"), names.map((name) => h("div", { class: "slice", key: `${this.study} ${name}` }, h("h4", {}, name), h("div", { class: "chart", id: `slice-${name}` }))));
      for (const name of names) this.slices.set(name, slice(byId(`slice-${name}`), name));
    }
    names.forEach((name, place) => {
      const sorted = rows.filter((row) => Number.isFinite(row[6 + place])).sort((one, other) => one[6 + place] - other[6 + place]);
      const pick = (wanted) => sorted.map((row) => (row[3] === wanted ? row[2] : null));
      this.slices.get(name)?.feed([sorted.map((row) => row[6 + place]), pick(false), pick(true)]);
    });
  }
}

const slice = (box, name) => chart(box, () => ({
  height: 150, cursor, legend: { show: false }, scales: { x: { time: false } },
  axes: [axis({ size: 26 }), axis({ size: 40 })],
  series: [{ label: name }, dots(INFEASIBLE, "grey", { size: 4, hollow: true }), dots("feasible", "accent", { size: 5 })],
}), ([values]) => `Slice plot of ${name}: objective on train, ${values.length} trials, from ${value(values[0])} to ${value(values.at(-1))}`);

function showImportance(found) {
  const shares = Object.entries(found.importances);
  if (!shares.length) return show(byId("p-importance"), h("p", { class: "empty" }, "Too few complete trials."));
  const most = Math.max(...shares.map(([, share]) => share));
  show(byId("p-importance"),
    h("div", { class: "shares" }, shares.map(([name, share]) => [h("span", {}, name), h("div", { class: "bar", "aria-hidden": "true" }, h("span", { style: { width: `${(100 * share) / most}%` } })), h("span", {}, percent(share, 0))])),
    h("p", { class: "empty" }, `PED-ANOVA, ${count(found.trials)} trials.`));
}
