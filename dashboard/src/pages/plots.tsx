// Any numeric field of any topic over time: picked from a tree, several axes, pause, zoom, marks.
import { signal, useComputed, useSignal, useSignalEffect, type Signal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import type uPlot from "uplot";
import { look, Problem, store, stored } from "../api";
import { axis, Chart, colour, COLOURS, type ChartApi } from "../chart";
import { figure, unitOf } from "../format";
import { connection, want, wantSeries, type Payload } from "../live";
import { newest, notifications } from "../state";
import { Button, Card, Check, Empty, Field, Scroll, Select } from "../ui";
import { Plane } from "./plane";
import { join, Track } from "./track";
import { Vitals } from "./vitals";

export interface Chosen {
  topic: string;
  field: string;
}
const WINDOWS = [["5", "5 s"], ["10", "10 s"], ["30", "30 s"], ["60", "1 min"], ["300", "5 min"]] as const;
const MOST = 8;
/** Topics that come each second have come by then. */
const SILENT_MS = 2500;
const AGAIN_MS = 2000;
const SKIP = new Set(["timestamp", "seq", "topic", "index"]);
const FIRST: Chosen[] = [{ topic: "pupil.0.2d", field: "diameter" }];

function readChosen(): Chosen[] {
  try {
    const found: unknown = JSON.parse(stored("plots") || "null");
    if (Array.isArray(found)) return found.slice(0, MOST) as Chosen[];
  } catch {
    // somebody has changed it by hand
  }
  return FIRST;
}

const chosen = signal<Chosen[]>(readChosen());

function choose(next: Chosen[]): void {
  chosen.value = next;
  store("plots", JSON.stringify(next));
}

/** Paths of the numbers in a payload, deepest first ones last; long lists are left out. */
export function fieldsOf(value: unknown, path = "", depth = 0): string[] {
  if (typeof value === "number" || typeof value === "boolean") return path ? [path] : [];
  if (depth > 3 || value === null || typeof value !== "object") return [];
  if (Array.isArray(value) && value.length > 4) return [];
  return Object.entries(value)
    .filter(([key]) => depth || !SKIP.has(key))
    .flatMap(([key, inner]) => fieldsOf(inner, path ? `${path}.${key}` : key, depth + 1));
}

interface LastValue {
  topic: string;
  payload: Payload;
}

function Tree() {
  const topics = useSignal<LastValue[] | null>(null);
  const filter = useSignal("");
  const again = useRef(0);
  async function find(): Promise<void> {
    clearTimeout(again.current);
    try {
      topics.value = await look<LastValue[]>("bus.last", {});
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      again.current = setTimeout(() => void find(), AGAIN_MS);
    }
  }
  const names = useComputed(() => {
    const seen = (newest.value.get("bus.stats")?.payload.topics ?? []) as { topic: string }[];
    return seen.map(({ topic }) => topic).sort().join("\n");
  });
  useSignalEffect(() => {
    void names.value; // a topic that is new has fields
    if (connection.value === "live") void find();
  });
  useEffect(() => () => clearTimeout(again.current), []);
  const shown = useComputed(() =>
    (topics.value ?? [])
      .filter(({ topic }) => !topic.startsWith("notify.") && !topic.startsWith("logging."))
      .map(({ topic, payload }) => ({ topic, fields: fieldsOf(payload) }))
      .map(({ topic, fields }) => ({ topic, fields: fields.filter((field) => `${topic}.${field}`.includes(filter.value)) }))
      .filter(({ fields }) => fields.length)
      .map((one) => ({ ...one, used: chosen.value.some(({ topic }) => topic === one.topic) }))
      .sort((a, b) => Number(b.used) - Number(a.used) || a.topic.localeCompare(b.topic)),
  );
  function toggle(one: Chosen, on: boolean): void {
    const others = chosen.value.filter(({ topic, field }) => topic !== one.topic || field !== one.field);
    choose(on ? [...others, one].slice(-MOST) : others);
  }
  return (
    <Card title="Fields" class="side" actions={<Button onClick={find}>Refresh</Button>}>
      <Field label="Filter" value={filter} placeholder="diameter" />
      <Scroll label="Fields" class="tree">
        {shown.value.map(({ topic, fields, used }) => (
          <details key={topic} open={filter.value !== "" || used}>
            <summary>
              <span>{topic}</span>
              <small class="muted">{fields.length}</small>
            </summary>
            {fields.map((field) => (
              <Check
                key={field}
                label={field}
                unit={unitOf(field)}
                checked={chosen.value.some((one) => one.topic === topic && one.field === field)}
                onChange={(on) => toggle({ topic, field }, on)}
              />
            ))}
          </details>
        ))}
        {topics.value && !shown.value.length && <Empty title="No numbers here" />}
      </Scroll>
    </Card>
  );
}

/** Lines where somebody put a mark. */
function drawMarks(plot: uPlot): void {
  const { ctx: context, bbox } = plot;
  context.save();
  context.strokeStyle = context.fillStyle = colour("--accent");
  context.textAlign = "left";
  context.font = `${11 * devicePixelRatio}px system-ui`;
  for (const { topic, payload, time } of [...marks.peek(), ...notifications.peek().filter((one) => one.topic.startsWith("notify.recording."))]) {
    const at = Math.round(plot.valToPos(Number(payload.timestamp ?? time), "x", true));
    if (at < bbox.left || at > bbox.left + bbox.width) continue;
    context.fillRect(at, bbox.top, devicePixelRatio, bbox.height);
    context.fillText(String(payload.label ?? topic.replace("notify.", "")), at + 4 * devicePixelRatio, bbox.top + 12 * devicePixelRatio);
  }
  context.restore();
}

const marks = signal<{ topic: string; payload: Payload; time: number }[]>([]);

/** Without `paused` it cannot be stopped, and so not be zoomed either. */
type TrendProps = { series: Chosen[]; names?: string[]; seconds: number; apart: boolean; paused?: Signal<boolean>; height?: number };

export function Trend({ series, names, seconds, apart, paused, height = 380 }: TrendProps) {
  const key = JSON.stringify([series, seconds, apart]);
  const silent = useSignal(false);
  const held = useRef(false);
  function hold(): void {
    if (!paused || paused.value) return;
    held.current = paused.value = true;
  }
  function showAll(): void {
    if (paused && held.current) paused.value = false; // it stood still only to be looked at
  }
  const options = useMemo<Omit<uPlot.Options, "width" | "height">>(() => {
    const scaleOf = (one: Chosen) => (apart ? `${one.topic} ${one.field}` : unitOf(one.field) || "y");
    const scales = [...new Set(series.map(scaleOf))];
    return {
      scales: { x: { time: false } },
      series: [
        { label: "time", value: (_: uPlot, value: number | null | undefined) => (typeof value !== "number" ? "" : `${value.toFixed(3)} s`) },
        ...series.map((one, n) => ({
          label: names?.[n] ?? `${one.topic} ${one.field}`,
          scale: scaleOf(one),
          stroke: () => colour(COLOURS[n % COLOURS.length] ?? "--c1"),
          width: 1.5,
          spanGaps: true,
          points: { show: false },
          value: (_: uPlot, value: number | null) => (value === null ? "–" : figure(value)),
        })),
      ],
      axes: [
        axis({ space: 70, values: (_, values) => values.map((value) => `${value} s`) }),
        ...scales.map((scale, n) => axis({ scale, side: n % 2 ? 1 : 3, size: 64, grid: { show: n === 0, stroke: () => colour("--grid"), width: 1 } })),
      ],
      cursor: { drag: { x: Boolean(paused), y: false } },
      hooks: { draw: [drawMarks] },
    };
  }, [key]);
  function ready({ plot, set }: ChartApi): () => void {
    const tracks = series.map(() => new Track(seconds));
    const bucket = seconds / 1500;
    const done = series.map((one, n) =>
      wantSeries({ id: `${height}:${n}:${one.topic}:${one.field}`.slice(0, 64), ...one, bucket_s: seconds > 5 ? bucket : 0 }, (times, values) =>
        tracks[n]?.add(times, values),
      ),
    );
    let drawn = 0;
    const began = performance.now();
    const timer = setInterval(() => {
      if (paused?.value || document.hidden) return;
      held.current = false;
      const total = tracks.reduce((sum, track) => sum + track.received, 0);
      silent.value = total === 0 && performance.now() - began > SILENT_MS;
      if (total === drawn) return;
      drawn = total;
      const latest = Math.max(...tracks.map((track) => track.latest));
      plot.batch(() => {
        set(join(tracks));
        plot.setScale("x", { min: latest - seconds, max: latest });
      });
      // Without a cursor the legend tells the newest values.
      if (plot.cursor.left === undefined || plot.cursor.left < 0) plot.setLegend({ idx: plot.data[0].length - 1 });
      plot.root.dataset.points = String(total);
    }, 60);
    return () => {
      clearInterval(timer);
      for (const end of done) end();
    };
  }
  const empty: uPlot.AlignedData = [[], ...series.map(() => [])];
  return (
    <>
      {silent.value && <p class="note">Nothing comes from {[...new Set(series.map((one) => one.topic))].join(", ")}.</p>}
      <Chart options={options} data={empty} height={height} label={`Plot of ${series.map((one) => `${one.topic} ${one.field}`).join(", ")}`} onReady={ready} zoom={Boolean(paused)} onHold={hold} onAll={showAll} />
    </>
  );
}

export function Plots() {
  const seconds = useSignal("10");
  const apart = useSignal(false);
  const paused = useSignal(false);
  useEffect(() => {
    paused.value = false;
  }, [seconds.value]);
  useEffect(() => want({ newest: ["annotation"] }), []);
  useSignalEffect(() => {
    const seen = newest.value.get("annotation");
    if (seen && marks.peek().at(-1) !== seen) marks.value = [...marks.peek().slice(-50), seen];
  });
  const series = chosen.value;
  return (
    <>
      <Vitals />
      <div class="with-side">
        <Card
          title="Plot"
          class="grow"
          actions={
            <>
              <Button pressed={paused.value} onClick={() => (paused.value = !paused.value)}>
                {paused.value ? "Go on" : "Pause"}
              </Button>
              <Select label="Window" value={seconds.value} options={WINDOWS} onChange={(value) => (seconds.value = value)} />
              <Check label="an axis each" checked={apart.value} onChange={(on) => (apart.value = on)} />
              <Button disabled={!series.length} onClick={() => choose([])}>
                Clear
              </Button>
            </>
          }
        >
          {series.length ? (
            <>
              <Trend key={JSON.stringify([series, seconds.value, apart.value])} series={series} seconds={Number(seconds.value)} apart={apart.value} paused={paused} />
              <p class="muted">Drag over the plot to zoom, or click it and use + − ← →: it pauses. A double click, or 0, lets it go on.</p>
            </>
          ) : (
            <Empty title="Nothing chosen">Tick fields in the tree; up to {MOST} are drawn together.</Empty>
          )}
        </Card>
        <Tree />
      </div>
      <Plane />
    </>
  );
}
