// Panels "Download" and "Coverage by month".

import { h, show } from "./dom.js";
import { count, duration, percent, words } from "./format.js";

const STEPS = [["c0", "nothing sealed"], ["c1", "below 90 %"], ["c2", "90 to 99 %"], ["c3", "99 to 99.9 %"], ["c4", "99.9 to 100 %"], ["c5", "every candle"]];

export function showDownload(box, topic) {
  const told = topic?.download;
  if (!told) return show(box, h("p", { class: "empty" }, "No download yet. Start one: ", h("code", {}, "tradeschool fetch"), "."));
  const going = told.downloads.filter((each) => each.pages_total > 0 || each.error);
  show(box,
    h("div", { class: "between" }, h("span", {}, h("span", { class: `chip ${topic.state}` }, topic.state), " ", summary(told, topic.state)),
      h("span", {}, told.providers.filter((each) => each.paused_seconds > 0).map((each) => h("span", { class: "chip paused", key: each.provider }, `${each.provider}: paused for ${duration(each.paused_seconds)}`)))),
    h("div", { class: "wrap" }, h("table", { class: "list" },
      h("thead", {}, h("tr", {}, ["dataset", "range", "pages", "", "reached", "ETA"].map((name, place) => h("th", { scope: "col", class: place === 1 || place === 4 ? "optional" : "" }, name)))),
      h("tbody", {}, going.map((each) => h("tr", { key: `${each.dataset} ${each.range}` },
        h("td", {}, each.dataset), h("td", { class: "optional" }, each.range),
        h("td", { class: "number" }, `${count(each.pages_done)} / ${count(each.pages_total)}`),
        h("td", {}, h("div", { class: "bar", role: "progressbar", "aria-label": each.dataset, "aria-valuemin": 0, "aria-valuemax": each.pages_total, "aria-valuenow": each.pages_done }, h("span", { style: { width: `${(100 * each.pages_done) / Math.max(1, each.pages_total)}%` } }))),
        h("td", { class: "optional" }, (each.reached ?? "").slice(0, 10)),
        h("td", {}, each.error ? h("span", { class: "chip error", title: each.error }, "failed") : each.sealed.length ? h("span", { class: "chip sealed" }, "sealed") : topic.state === "running" ? duration(each.eta_seconds) : "incomplete")))))),
    going.filter((each) => each.error).map((each) => h("p", { class: "alert", key: each.dataset }, `${each.dataset}: ${each.error}`)),
    h("p", { class: "empty" }, told.providers.map((each) => `${each.provider}: ${count(each.requests)} requests (${Object.entries(each.outcomes).map(([name, times]) => `${count(times)} ${words(name)}`).join(", ")}), ${percent(each.requests_per_second / each.limit_per_second, 0)} of the rate limit of ${each.limit_per_second}/s`).join("; ")));
}

function summary(told, state) {
  if (state === "lost") return "The fetcher has stopped; stored pages are kept. Resume: tradeschool fetch";
  const done = told.downloads.reduce((sum, each) => sum + each.pages_done, 0);
  return `${count(done)} pages stored${state === "running" ? `, ETA ${duration(told.eta_seconds)} at the rate limit` : ""}`;
}

export function showCandles(box, topic) {
  const datasets = topic?.datasets ?? [];
  if (!datasets.length) return show(box, h("p", { class: "empty" }, "No sealed candles yet."));
  const months = span(datasets);
  show(box,
    h("table", { class: "heat" },
      h("caption", { class: "hidden" }, "Coverage: stored share of the expected candles, by dataset and month"),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, h("span", { class: "hidden" }, "dataset")), years(months).map(([year, length]) => h("th", { colspan: length, scope: "colgroup" }, length > 2 ? year : "")), h("th", {}))),
      h("tbody", {}, datasets.map((each) => h("tr", { key: each.dataset },
        h("th", { scope: "row" }, each.dataset),
        months.map((month) => h("td", { class: step(each.months[month]), title: `${month}: ${month in each.months ? percent(each.months[month], 2) : "nothing sealed"}` })),
        h("td", { class: "total" }, each.error ? h("span", { class: "chip error", title: each.error }, "unreadable") : `${percent(each.coverage, 2)} of ${count(each.expected)}${each.derived ? ", derived" : each.imported ? ", imported" : ""}`))))),
    h("div", { class: "key" }, STEPS.map(([name, text]) => h("span", {}, h("i", { class: name }), text))));
}

const step = (share) => (share === undefined ? "c0" : share >= 1 ? "c5" : share >= 0.999 ? "c4" : share >= 0.99 ? "c3" : share >= 0.9 ? "c2" : "c1");

/** All months from the first to the last one of any dataset. */
function span(datasets) {
  const known = datasets.flatMap((each) => Object.keys(each.months)).sort();
  const months = [];
  if (!known.length) return months;
  let [year, month] = known[0].split("-").map(Number);
  for (let name = known[0]; name <= known.at(-1); name = `${year}-${String(month).padStart(2, "0")}`) {
    months.push(name);
    month += 1;
    if (month > 12) { year += 1; month = 1; }
  }
  return months;
}

function years(months) {
  const found = [];
  for (const month of months) {
    if (found.at(-1)?.[0] === month.slice(0, 4)) found.at(-1)[1] += 1;
    else found.push([month.slice(0, 4), 1]);
  }
  return found;
}
