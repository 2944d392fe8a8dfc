// Panel "Workers": queue history, workers by host, running trials, failed jobs.

import { axis, chart, clock, cursor, line, times, utc } from "./charts.js";
import { h, show } from "./dom.js";
import { count, duration } from "./format.js";

const byId = (id) => document.getElementById(id);
const MAX_POINTS = 3600;
const STEP_SECONDS = 5;
const LATE_SECONDS = 15; // without a heartbeat

export class Work {
  constructor(ask, say) {
    Object.assign(this, { ask, say, samples: [], failed: null, seen: -1, busy: false, note: "" });
    this.equity_curve = chart(byId("c-queue"), () => ({
      height: 260, cursor, tzDate: utc, scales: { y: { range: (plot, low, high) => [0, Math.max(4, high * 1.1)] }, pace: { range: (plot, low, high) => [0, Math.max(4, high * 1.1)] } },
      axes: [axis({ size: 42, values: times }), axis({ size: 44 }), axis({ scale: "pace", side: 1, size: 44, grid: { show: false } })],
      series: [{ label: "UTC", value: clock }, line("queued", "accent", { fill: "accent-fill" }), line("running", "second"), line("failed", "bad"), line("finished per minute", "good", { scale: "pace", dash: [5, 4] })],
    }), ([times, waiting]) => `Queue history, ${times.length} samples; ${count(waiting.at(-1) ?? 0)} jobs queued now`);
  }

  /** Load the queue history from before the page was opened. */
  async recall() {
    const found = await this.ask("/api/history");
    if (found.error) return;
    const begin = this.samples[0]?.time ?? Infinity;
    this.samples = [...found.samples.filter((moment) => moment.time < begin), ...this.samples];
    this.draw();
  }

  show(topic) {
    const queue = topic?.queue;
    if (queue) {
      const last = this.samples.at(-1);
      const now = { ...queue, time: Math.floor(topic.time) };
      if (!last || now.time - last.time >= STEP_SECONDS) this.samples.push(now);
      if (this.samples.length > MAX_POINTS) this.samples.splice(0, this.samples.length - MAX_POINTS);
      this.draw();
      if (queue.failed !== this.seen) this.lookAtFailed(queue.failed);
    }
    showWorkers(byId("p-workers"), queue, unseen(topic));
    showRunningJobs(byId("p-running_jobs"), queue, unseen(topic));
    this.showFailed();
  }

  draw() {
    const pick = (name) => this.samples.map((moment) => moment[name]);
    this.equity_curve.feed([pick("time"), pick("queued"), pick("started"), pick("failed"), pick("throughput_per_minute")]);
  }

  async lookAtFailed(seen) {
    this.seen = seen;
    const found = seen ? await this.ask("/api/failed") : { jobs: [] };
    if (found.error) { this.seen = -1; return; }
    this.failed = found.jobs;
    this.showFailed();
  }

  async requeue(jobs) {
    this.busy = true;
    this.showFailed();
    const found = await this.ask("/api/failed/requeue", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ jobs }) });
    this.busy = false;
    this.note = found.error ?? `${count(found.requeued.length)} job${found.requeued.length === 1 ? "" : "s"} requeued.`;
    this.seen = -1;
    this.showFailed();
  }

  showFailed() {
    const jobs = this.failed ?? [];
    show(byId("p-failed"),
      h("div", { class: "between" }, h("span", { class: "empty", role: "status" }, this.note || (jobs.length ? `${count(jobs.length)} in the last day, latest first. The coordinator retries each trial automatically.` : "None in the last day.")),
        jobs.length > 0 && h("button", { type: "button", disabled: this.busy, onclick: () => this.requeue(null) }, "Requeue all")),
      jobs.length > 0 && h("div", { class: "wrap scroll", tabindex: "0", role: "region", "aria-label": "Failed jobs" }, h("table", { class: "list" },
        head("level", "trials", "try", "failed", "reason", ""),
        h("tbody", {}, jobs.map((job) => h("tr", { key: job.job },
          h("td", {}, job.level), h("td", {}, job.trials), h("td", {}, job.attempt),
          h("td", {}, `${duration(Math.max(0, Date.now() / 1000 - job.ended))} ago`),
          h("td", { class: "why" }, job.reason),
          h("td", {}, h("button", { class: "plain", type: "button", disabled: this.busy, "aria-label": `Requeue trials ${job.trials}`, onclick: () => this.requeue([job.job]) }, "Requeue"))))))));
  }
}

const head = (...names) => h("thead", {}, h("tr", {}, names.map((name) => h("th", { scope: "col" }, name))));

/** Reason why no queue is shown. */
const unseen = (topic) => (topic?.note ? "No active run." : "Redis is unreachable.");

function showWorkers(box, queue, otherwise) {
  if (!queue) return show(box, h("p", { class: "empty" }, otherwise));
  if (!queue.workers.length) return show(box, h("p", { class: "empty" }, "No worker is connected. Start workers: ", h("code", {}, "tradeschool worker start -n 2"), "."));
  const hosts = Map.groupBy ? Map.groupBy(queue.workers, (worker) => worker.host) : grouped(queue.workers);
  show(box, h("div", { class: "wrap" }, h("table", { class: "list" }, head("worker", "state", "last heartbeat", "trial", "done", "failed", "busy time"),
    h("tbody", {}, [...hosts].sort().map(([host, workers]) => [
      h("tr", { class: "host", key: `host ${host}` }, h("td", { colspan: 7 }, `${host}: ${count(workers.length)} workers`)),
      workers.map((worker) => row(worker, queue.running_jobs.find((flight) => flight.worker === worker.name)))])))),
    queue.worker_count > queue.workers.length && h("p", { class: "empty" }, `And ${count(queue.worker_count - queue.workers.length)} more.`),
    queue.advice && h("p", { class: "empty" }, `${queue.advice}.`));
}

const row = (worker, flight) => h("tr", { key: worker.name },
  h("td", {}, worker.name.startsWith(`${worker.host}-`) ? worker.name.slice(worker.host.length + 1) : worker.name),
  h("td", {}, h("span", { class: `chip ${worker.heartbeat_age_seconds > LATE_SECONDS ? "late" : worker.state}` }, worker.heartbeat_age_seconds > LATE_SECONDS ? "silent" : worker.state)),
  h("td", {}, `${duration(worker.heartbeat_age_seconds)} ago`),
  h("td", {}, flight?.trials ?? "–"),
  h("td", {}, count(worker.done)), h("td", {}, count(worker.failed)), h("td", {}, duration(worker.working_seconds)));

function showRunningJobs(box, queue, otherwise) {
  if (!queue?.running_jobs.length) return show(box, h("p", { class: "empty" }, queue ? "No trial is running." : otherwise));
  show(box, h("table", { class: "list" }, head("trial", "level", "running for"),
    h("tbody", {}, queue.running_jobs.map((flight) => h("tr", { key: flight.job }, h("td", {}, flight.trials), h("td", {}, flight.level || "–"), h("td", {}, duration(flight.seconds)))))));
}

function grouped(workers) {
  const hosts = new Map();
  for (const worker of workers) hosts.set(worker.host, [...(hosts.get(worker.host) ?? []), worker]);
  return hosts;
}
