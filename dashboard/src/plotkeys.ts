// A plot by keyboard: cursor, zoom and pan; and what it shows then, in words.
import type uPlot from "uplot";

export const KEYS = "Arrow keys move the cursor";
export const ZOOM_KEYS = `${KEYS}, with shift they pan, plus and minus zoom, 0 shows all`;
const STEPS = 50;
const ZOOM = 1.5;

const within = (value: number, low: number, high: number): number => Math.max(low, Math.min(high, value));

function all(plot: uPlot): [number, number] {
  const [xs] = plot.data;
  return [xs[0] ?? 0, xs.at(-1) ?? 0];
}

function view(plot: uPlot): [number, number] {
  const { min, max } = plot.scales.x ?? {};
  const [from, to] = all(plot);
  return [min ?? from, max ?? to];
}

/** Show a part of what there is, at least two points wide. */
function show(plot: uPlot, low: number, high: number): void {
  const [from, to] = all(plot);
  const width = within(high - low, Math.min(to - from, (2 * (to - from)) / Math.max(1, plot.data[0].length - 1)), to - from);
  const min = within((low + high - width) / 2, from, to - width);
  plot.setScale("x", { min, max: min + width });
}

function put(plot: uPlot, index: number): void {
  const x = plot.data[0][index];
  if (x === undefined) return;
  const [min, max] = view(plot);
  if (x < min) show(plot, x, x + max - min);
  if (x > max) show(plot, x - (max - min), x);
  // A scale that was set is taken up after the present turn.
  queueMicrotask(() => plot.setCursor({ left: plot.valToPos(x, "x"), top: plot.over.clientHeight / 2 }));
}

/** The point at the cursor; where there is none, the one in the middle of the view. */
function pointed(plot: uPlot): number {
  const { left, idx } = plot.cursor;
  if (typeof idx === "number" && left !== undefined && left >= 0) return idx;
  const [min, max] = view(plot);
  return plot.valToIdx((min + max) / 2);
}

/** Move the cursor by a part of the view, at least to the next point. */
function step(plot: uPlot, direction: number): void {
  const [xs] = plot.data;
  const [min, max] = view(plot);
  const from = pointed(plot);
  const to = plot.valToIdx((xs[from] ?? min) + (direction * (max - min)) / STEPS);
  put(plot, within(to === from ? from + direction : to, 0, xs.length - 1));
}

function zoom(plot: uPlot, by: number): void {
  const [min, max] = view(plot);
  const index = pointed(plot);
  const x = within(plot.data[0][index] ?? min, min, max);
  show(plot, x - (x - min) / by, x + (max - x) / by);
  put(plot, index);
}

function pan(plot: uPlot, direction: number): void {
  const [min, max] = view(plot);
  const by = (direction * (max - min)) / 5;
  plot.setCursor({ left: -10, top: -10 });
  show(plot, min + by, max + by);
}

type Act = (plot: uPlot) => void;
const CURSOR: Record<string, Act> = {
  ArrowLeft: (plot) => step(plot, -1),
  ArrowRight: (plot) => step(plot, 1),
  Home: (plot) => put(plot, 0),
  End: (plot) => put(plot, plot.data[0].length - 1),
};
const VIEW: Record<string, Act> = {
  "+": (plot) => zoom(plot, ZOOM),
  "=": (plot) => zoom(plot, ZOOM),
  "-": (plot) => zoom(plot, 1 / ZOOM),
  "0": (plot) => show(plot, ...all(plot)),
  "shift ArrowLeft": (plot) => pan(plot, -1),
  "shift ArrowRight": (plot) => pan(plot, 1),
};

/** What a key does with a plot; undefined: nothing. */
export function actOf(event: KeyboardEvent, mayZoom: boolean): Act | undefined {
  if (event.ctrlKey || event.altKey || event.metaKey) return undefined;
  const shifted = event.shiftKey ? VIEW[`shift ${event.key}`] : undefined;
  return (mayZoom ? (shifted ?? VIEW[event.key]) : undefined) ?? (event.shiftKey ? undefined : CURSOR[event.key]);
}

/** What stands at the cursor, and what part is shown. */
export function told(plot: uPlot): string {
  const text = (n: number, value: number | null | undefined): string => {
    const how = plot.series[n]?.value;
    return typeof how === "function" ? String(how(plot, value as number, n, null)) : String(value ?? "");
  };
  const { idx, left } = plot.cursor;
  const [min, max] = view(plot);
  const shown = `${text(0, min)} to ${text(0, max)} shown`;
  if (typeof idx !== "number" || left === undefined || left < 0) return shown;
  const values = plot.series.slice(1).map(({ label }, n) => `${String(label)} ${text(n + 1, plot.data[n + 1]?.[idx])}`);
  return `${text(0, plot.data[0][idx])}: ${values.join(", ")}; ${shown}`;
}
