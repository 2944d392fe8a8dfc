// uPlot charts in the page's colours, resized with their box.
/* global uPlot */

const charts = new Set();

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** A chart in a box. `make` returns uPlot options in the current colours; `describe` returns the aria-label. */
export function chart(box, make, describe) {
  const it = { plot: null, data: null };
  box.setAttribute("role", "img");
  const draw = () => {
    it.plot?.destroy();
    it.plot = null;
    if (!it.data || box.clientWidth < 40) return;
    const options = make();
    it.height = options.height ?? 240;
    it.plot = new uPlot({ ...options, width: box.clientWidth, height: it.height }, it.data, box);
  };
  it.feed = (data) => {
    it.data = data;
    box.classList.toggle("nothing", !data[0].length);
    box.setAttribute("aria-label", describe(data));
    if (it.plot) it.plot.setData(data);
    else draw();
  };
  it.draw = draw;
  new ResizeObserver(() => {
    if (!it.plot) draw();
    else if (Math.abs(it.plot.width - box.clientWidth) > 1) it.plot.setSize({ width: box.clientWidth, height: it.height });
  }).observe(box);
  charts.add(it);
  return it;
}

/** Redraw all charts after a change of colours. */
export const redraw = () => charts.forEach((it) => it.draw());

/** An axis in the page's colours. */
export function axis(extra = {}) {
  return {
    stroke: colour("muted"),
    grid: { stroke: colour("line"), width: 1 },
    ticks: { stroke: colour("line"), width: 1, size: 4 },
    font: "12px system-ui, sans-serif",
    ...extra,
  };
}

/** Points without a line between them. */
export function dots(label, name, { size = 5, hollow = false, scale } = {}) {
  const stroke = colour(name);
  return { label, stroke, width: 0, paths: () => null, ...(scale ? { scale } : {}), points: { show: true, size, stroke, width: 1, fill: hollow ? "transparent" : stroke } };
}

/** A line; `step` holds the last value until the next one. */
export function line(label, name, { width = 2, step = false, fill = null, dash, scale, points = false } = {}) {
  return {
    label, stroke: colour(name), width, ...(scale ? { scale } : {}), ...(dash ? { dash } : {}),
    ...(fill ? { fill: colour(fill) } : {}), ...(step ? { paths: uPlot.paths.stepped({ align: 1 }) } : {}), points: { show: points },
  };
}

/** A cursor without drag-to-zoom, because a zoomed chart would hide new data. */
export const cursor = { drag: { x: false, y: false }, points: { size: 7 } };

const two = (number) => String(number).padStart(2, "0");
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY = 86400;

/** Format a Unix time as a date, for example "3 Mar 2022". */
export function date(plot, seconds) {
  if (seconds === null) return "–";
  const time = new Date(seconds * 1e3);
  return `${time.getUTCDate()} ${MONTHS[time.getUTCMonth()]} ${time.getUTCFullYear()}`;
}

/** Format a Unix time as a time of day in UTC. */
export function clock(plot, seconds) {
  if (seconds === null) return "–";
  const time = new Date(seconds * 1e3);
  return `${two(time.getUTCHours())}:${two(time.getUTCMinutes())}:${two(time.getUTCSeconds())}`;
}

/** Tick labels of a time axis: times of day, or dates if the ticks are a day or more apart. */
export function times(plot, ticks, axisNumber, space, step) {
  let before = "";
  return ticks.map((seconds) => {
    const time = new Date(seconds * 1e3);
    const year = String(time.getUTCFullYear());
    const day = `${time.getUTCDate()} ${MONTHS[time.getUTCMonth()]}`;
    const [first, second] = step >= DAY ? [step >= 28 * DAY ? MONTHS[time.getUTCMonth()] : day, year] : [step < 60 ? clock(plot, seconds) : clock(plot, seconds).slice(0, 5), day];
    const shown = second === before ? first : `${first}\n${second}`;
    before = second;
    return shown;
  });
}

export const utc = (seconds) => uPlot.tzDate(new Date(seconds * 1e3), "Etc/UTC");
