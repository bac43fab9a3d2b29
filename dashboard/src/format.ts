// Numbers as people read them.
const BYTES = ["B", "kB", "MB", "GB", "TB"];

export function bytes(value: unknown): string {
  let left = Number(value);
  if (!Number.isFinite(left)) return "–";
  let unit = 0;
  while (left >= 1000 && unit < BYTES.length - 1) {
    left /= 1000;
    unit++;
  }
  return `${left.toFixed(left < 10 && unit ? 1 : 0)} ${BYTES[unit]}`;
}

export function count(value: unknown): string {
  const found = value === null ? NaN : Number(value); // null: nobody knows
  return Number.isFinite(found) ? Math.round(found).toLocaleString("en").replace(/,/g, "\u202f") : "–";
}

export function rate(value: unknown): string {
  const found = Number(value);
  if (!Number.isFinite(found)) return "–";
  return found >= 100 ? count(found) : found.toFixed(found >= 9.95 ? 0 : 1);
}

/** 3661 → 1:01:01 */
export function duration(value: unknown): string {
  const s = Math.max(0, Math.floor(Number(value) || 0));
  const rest = `${String(Math.floor(s / 60) % 60).padStart(s >= 3600 ? 2 : 1, "0")}:${String(s % 60).padStart(2, "0")}`;
  return s >= 3600 ? `${Math.floor(s / 3600)}:${rest}` : rest;
}

export function hours(value: unknown): string {
  const found = Number(value);
  if (value === null || value === undefined || !Number.isFinite(found)) return "–";
  return found > 1000 ? "> 1000 h" : `${found.toFixed(found < 10 ? 1 : 0)} h`;
}

export function moment(epochUs: unknown): string {
  const date = new Date(Number(epochUs) / 1000);
  return Number.isNaN(date.getTime()) ? "–" : date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

/** A number with as many digits as it deserves. */
export function figure(value: unknown): string {
  if (typeof value !== "number") return value === null || value === undefined ? "–" : String(value);
  if (!Number.isFinite(value)) return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return String(value);
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(3) : Number(value.toPrecision(6)).toString();
}

/** The unit that a field's name ends with, as the rig names its fields. */
export function unitOf(field: string): string {
  const name = field.split(".").at(-1) ?? "";
  const last = /_(s|ms|us|hz|bytes|px|mm|v|a|w|c|k|deg|bpm|hours)$/i.exec(name)?.[1]?.toLowerCase();
  const units: Record<string, string> = { hz: "Hz", bytes: "B", us: "µs", v: "V", a: "A", w: "W", c: "°C", k: "K", deg: "°", hours: "h" };
  return last ? (units[last] ?? last) : "";
}

/** More, which anybody may ask for in a line of the log, JavaScript refuses. */
const MOST_DIGITS = 100;

/** A line of the log: Python's `%` formatting of `msg` with `args`, as far as logs use it. */
export function logText(payload: Record<string, unknown>): string {
  const text = String(payload.msg ?? payload.message ?? "");
  const { args } = payload;
  const named = args !== null && typeof args === "object" && !Array.isArray(args) ? (args as Record<string, unknown>) : null;
  const list = Array.isArray(args) ? (args as unknown[]) : [];
  if (!list.length && !named) return text;
  let next = 0;
  return text.replace(/%(?:\((\w+)\))?[-#0 +]*\d*(?:\.(\d+))?([sdifgexrX%])/g, (whole, name: string | undefined, digits: string | undefined, kind: string) => {
    if (kind === "%") return "%";
    const value = name !== undefined && named ? named[name] : list[next++];
    return value === undefined ? whole : formatted(value, kind, digits === undefined ? undefined : Math.min(MOST_DIGITS, Number(digits)));
  });
}

function formatted(value: unknown, kind: string, digits: number | undefined): string {
  if (typeof value !== "number") return typeof value === "object" ? JSON.stringify(value) : String(value);
  if (kind === "f") return value.toFixed(digits ?? 6);
  if (kind === "e") return value.toExponential(digits ?? 6);
  if (kind === "g") return String(Number(value.toPrecision(Math.max(1, digits ?? 6))));
  if (kind === "d" || kind === "i") return String(Math.trunc(value));
  if (kind === "x") return value.toString(16);
  return kind === "X" ? value.toString(16).toUpperCase() : String(value);
}
