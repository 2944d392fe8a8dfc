// Panel "Timeline": events of the run, latest first.

import { h, show } from "./dom.js";
import { moment } from "./format.js";

const KINDS = {
  level_passed: "good", run_finished: "good", dataset_sealed: "good",
  level_failed: "bad", level_escalated: "bad", worker_lost: "bad", trial_given_up: "bad", database_older: "bad", provider_banned: "bad",
  provider_paused: "warn", run_interrupted: "warn", jobs_requeued: "warn", level_waiting: "warn",
  level_started: "new", retry_planned: "new", run_started: "new", run_resumed: "new",
};

const ADVICE = { deploy: "good", "paper trade": "warn", "do not deploy": "bad" };

const kind = (event) => (event.event === "recommendation" ? ADVICE[event.action] : KINDS[event.event]) ?? "";

export function showTimeline(box, topic) {
  const events = topic?.events ?? [];
  if (!events.length) return show(box, h("p", { class: "empty" }, "No events yet."));
  show(box, h("ol", { class: "events" }, events.toReversed().map((event) => h("li", { class: kind(event), key: `${event.time} ${event.sentence}` },
    h("time", { datetime: event.time }, moment(event.time)), h("span", { class: "dot", "aria-hidden": "true" }), h("p", {}, event.sentence)))));
}
