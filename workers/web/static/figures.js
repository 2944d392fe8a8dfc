// Row of key figures at the top of the page.

import { h, show } from "./dom.js";
import { count, duration, figure, labelOf } from "./format.js";
import { currentLevel } from "./curriculum.js";

export function showFigures(box, state, run) {
  const queue = state.queue?.queue;
  const level = run ? currentLevel(run, state.level) : null;
  const attempt = level?.attempts.at(-1);
  const told = state.download?.state === "running" ? state.download.download : null;
  const unseen = state.queue?.note ? "no active run" : "unreachable";
  const hosts = new Set((queue?.workers ?? []).map((worker) => worker.host)).size;
  show(box,
    tile("Trials", attempt ? `${count(attempt.finished)} / ${count(attempt.trials)}` : "–",
      attempt ? `level ${level.level}${attempt.finished < attempt.trials ? `, ${run.stalled ? `stalled: ${run.stalled}` : `ETA ${duration(attempt.eta_seconds)}`}` : ", all finished"}` : "no search yet"),
    tile("Best feasible", attempt?.best ? figure(attempt.best.value) : "–", attempt?.best ? `trial ${attempt.best.number}, ${labelOf(level, level.objective[0])} on train` : "none feasible yet"),
    tile("Queue", queue ? count(queue.queued + queue.started) : "–", queue ? `${count(queue.queued)} queued, ${count(queue.started)} running` : unseen),
    tile("Throughput", queue ? `${count(queue.throughput_per_minute)}` : "–", "jobs finished in the last minute"),
    tile("Workers", queue ? count(queue.worker_count) : "–", queue ? `on ${count(hosts)} host${hosts === 1 ? "" : "s"}` : unseen, Boolean(queue?.stalled)),
    tile("Failed jobs", queue ? count(queue.failed) : "–", "in the last day", queue?.failed > 0),
    tile("Download", told ? duration(told.eta_seconds) : { over: "done", lost: "lost" }[state.download?.state] ?? "–",
      told ? "ETA at the rate limit" : { over: "latest download finished", lost: "the fetcher has stopped" }[state.download?.state] ?? "no download yet",
      state.download?.state === "lost"),
  );
}

const tile = (name, value, more, bad = false) =>
  h("div", { class: `figure${bad ? " bad" : ""}`, key: name }, h("div", { class: "name" }, name), h("div", { class: "value" }, value), h("div", { class: "more" }, more));
