// Number, duration and time formats.

const whole = new Intl.NumberFormat("en");

export const count = (value) => (Number.isFinite(value) ? whole.format(value) : "–");

export const figure = (value, digits = 3) => (Number.isFinite(value) ? value.toFixed(digits) : "–");

export const percent = (fraction, digits = 1) => (Number.isFinite(fraction) ? `${(100 * fraction).toFixed(digits)} %` : "–");

/** Format a duration, for example "2 h 5 min". */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 100) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 100 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Format a parameter value with four significant digits. */
export const value = (given) => (typeof given === "number" ? String(+given.toPrecision(4)) : String(given ?? "–"));

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", timeZone: "UTC", hour12: false });
const day = new Intl.DateTimeFormat("en-GB", { day: "2-digit", month: "short", timeZone: "UTC" });

/** Format an ISO timestamp in UTC. */
export function moment(text) {
  const time = new Date(text);
  return Number.isNaN(time.valueOf()) ? "–" : `${day.format(time)} ${clock.format(time)}`;
}

export const words = (name) => name.replaceAll("_", " ");

/** The label of a metric of a level. */
export const labelOf = (level, name) => level.labels[name] ?? words(name);

/** The objectives of a level, such as `objective: Sharpe ratio`. */
export const objectiveText = (level) => `objective${level.objective.length > 1 ? "s" : ""}: ${level.objective.map((name) => labelOf(level, name)).join(", ")}`;

/** Capitalize the first letter. */
export const upper = (text) => text.charAt(0).toUpperCase() + text.slice(1);
