// One session: when what came, pictures and plots at the cursor, its files, its check.
import { useComputed, useSignal, useSignalEffect, type Signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { get, knows, Problem } from "../api";
import { colour } from "../chart";
import { bytes, count, duration, moment } from "../format";
import { hello } from "../live";
import { go, noteMoment, place } from "../route";
import { Button, Card, Empty, Figure, Pill, Scroll, Select, type Level } from "../ui";
import { shellWord } from "./clip";
import { SessionPlot } from "./sessionplot";
import { Verified, type Check } from "./verified";
import { Work } from "./work";

export interface Mark {
  time_s: number;
  label: string;
  duration_s: number;
}
interface Overview {
  name: string;
  state: string;
  ended: string;
  start_epoch_us: number;
  duration_s: number;
  checked: string;
  topics: { topic: string; messages: number; messages_hz: number }[];
  marks: Mark[];
  files: string[];
  failed: { stream: string; reason: string }[];
}
export interface SessionView {
  overview: Overview;
  pictures: Record<string, number>;
  size_bytes: Record<string, number>;
}
interface Activity {
  bin_s: number;
  topics: Record<string, number[]>;
}

const ROW = 18;
/** Room for the names of topics, px; on a narrow screen the time has the larger part. */
const labelOf = (width: number): number => Math.min(190, Math.round(width * 0.38));

export function levelOf(state: string): Level {
  return state === "recording" ? "record" : state === "broken" ? "bad" : state === "repaired" ? "warn" : "good";
}

/** A name in the room that it has: its end tells more than its middle. */
function fitted(context: CanvasRenderingContext2D, text: string, width: number): string {
  if (context.measureText(text).width <= width) return text;
  let keep = text.length - 1;
  const cut = () => `${text.slice(0, Math.ceil(keep / 2))}…${text.slice(text.length - Math.floor(keep / 2))}`;
  while (keep > 2 && context.measureText(cut()).width > width) keep--;
  return cut();
}

/** A bar per topic: the darker, the more came. Marks stand as lines. */
function drawTimeline(canvas: HTMLCanvasElement, activity: Activity, marks: Mark[], seconds: number, cursor: number): void {
  const rows = Object.entries(activity.topics).sort(([a], [b]) => a.localeCompare(b));
  const ratio = devicePixelRatio;
  const width = canvas.clientWidth;
  const height = rows.length * ROW + 4;
  canvas.style.height = `${height}px`;
  [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
  const context = canvas.getContext("2d");
  if (!context) return;
  context.scale(ratio, ratio);
  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "middle";
  const label = labelOf(width);
  const span = width - label;
  rows.forEach(([topic, bins], n) => {
    const y = n * ROW;
    const most = Math.max(1, ...bins);
    context.globalAlpha = 1;
    context.fillStyle = colour("--text");
    context.fillText(fitted(context, topic, label - 8), 0, y + ROW / 2);
    context.fillStyle = colour("--grid");
    context.fillRect(label, y + 4, span, ROW - 8);
    context.fillStyle = colour("--c1");
    bins.forEach((found, bin) => {
      if (!found) return;
      context.globalAlpha = 0.35 + (0.65 * found) / most;
      context.fillRect(label + (bin / bins.length) * span, y + 4, span / bins.length + 0.5, ROW - 8);
    });
  });
  context.globalAlpha = 1;
  for (const mark of marks) {
    context.fillStyle = colour("--c2");
    context.fillRect(label + (mark.time_s / seconds) * span, 0, Math.max(1.5, (mark.duration_s / seconds) * span), height);
  }
  context.fillStyle = colour("--bad");
  context.fillRect(label + (cursor / seconds) * span - 0.75, 0, 1.5, height);
}

function Timeline({ name, view, cursor }: { name: string; view: SessionView; cursor: Signal<number> }) {
  const activity = useSignal<Activity | null>(null);
  const failure = useSignal("");
  const canvas = useRef<HTMLCanvasElement>(null);
  const seconds = view.overview.duration_s || 1;
  useEffect(() => {
    void get<Activity>("session/activity", { session: name }).then(
      (found) => (activity.value = found),
      (error: unknown) => (failure.value = error instanceof Problem ? error.message : String(error)),
    );
  }, [name]);
  function draw(): void {
    if (activity.value && canvas.current) drawTimeline(canvas.current, activity.value, view.overview.marks, seconds, cursor.value);
  }
  useSignalEffect(draw);
  useEffect(() => {
    const size = new ResizeObserver(draw);
    if (canvas.current) size.observe(canvas.current);
    return () => size.disconnect();
  }, []);
  function scrub(event: PointerEvent): void {
    if (!canvas.current || (event.type === "pointermove" && !event.buttons)) return;
    const label = labelOf(canvas.current.clientWidth);
    const part = (event.offsetX - label) / (canvas.current.clientWidth - label);
    cursor.value = Math.max(0, Math.min(1, part)) * seconds;
  }
  return (
    <Card title="Timeline">
      {failure.value && <p class="error">{failure.value}</p>}
      {!activity.value && !failure.value && <Empty title="Looking through the session…" />}
      <canvas
        ref={canvas}
        class="timeline"
        role="img"
        aria-label={`Timeline of ${view.overview.topics.length} topics`}
        onPointerDown={scrub}
        onPointerMove={scrub}
      />
      <label class="field inline">
        <span class="number">at {cursor.value.toFixed(2)} s</span>
        <input
          type="range"
          class="scrub"
          min={0}
          max={seconds}
          step={seconds / 1000}
          value={cursor.value}
          onInput={(event) => (cursor.value = Number(event.currentTarget.value))}
        />
      </label>
      {view.overview.marks.length > 0 && (
        <p class="row">
          {view.overview.marks.slice(0, 30).map((mark) => (
            <Button key={`${mark.time_s}${mark.label}`} onClick={() => (cursor.value = mark.time_s)}>
              {mark.label} <small class="muted">{mark.time_s.toFixed(1)} s</small>
            </Button>
          ))}
        </p>
      )}
    </Card>
  );
}

/** The pictures of the moment; while one is on its way, only the newest wish waits. */
function Frames({ name, topics, cursor }: { name: string; topics: string[]; cursor: Signal<number> }) {
  const shown = useSignal(0);
  const busy = useRef(false);
  useSignalEffect(() => {
    const time = cursor.value;
    if (!busy.current) {
      busy.current = true;
      shown.value = time;
    }
  });
  function ready(): void {
    busy.current = false;
    if (shown.value !== cursor.value) {
      busy.current = true;
      shown.value = cursor.value;
    }
  }
  return (
    <Card title="Pictures at the cursor">
      <div class="frames">
        {topics.map((topic) => (
          <figure key={topic}>
            <img
              src={`/api/session/picture?${new URLSearchParams({ session: name, topic, time_s: String(shown.value) })}`}
              alt={`${topic} at ${shown.value.toFixed(2)} s`}
              onLoad={ready}
              onError={ready}
            />
            <figcaption class="muted">{topic}</figcaption>
          </figure>
        ))}
      </div>
    </Card>
  );
}

function Files({ name, view }: { name: string; view: SessionView }) {
  return (
    <Card title="Files">
      <Scroll label="Files" class="messages">
        <table class="rows">
          <tbody>
            {Object.entries(view.size_bytes).map(([file, size]) => (
              <tr key={file}>
                <td>
                  <a href={`/api/session/file?${new URLSearchParams({ session: name, name: file })}`} download={file.split("/").at(-1)}>
                    {file}
                  </a>
                </td>
                <td class="right number">{bytes(size)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
    </Card>
  );
}

const FORMATS = [["parquet", "Parquet"], ["csv", "CSV"], ["mcap", "MCAP"]] as const;
type Format = (typeof FORMATS)[number][0];
const ABOUT: Record<Format, string> = {
  parquet: "A table for each topic, in one archive.",
  csv: "A table for each topic as text, in one archive.",
  mcap: "One file with JSON payloads and the pictures.",
};
interface Exported {
  id: string;
  name: string;
  size_bytes: number;
  messages: number;
  skipped: number;
  tables: number;
}

/** The browser begins to download as soon as the link is there. */
function Download({ made }: { made: Exported }) {
  const link = useRef<HTMLAnchorElement>(null);
  useEffect(() => link.current?.click(), [made.id]);
  return (
    <p class="row">
      <a ref={link} href={`/api/session/exported?${new URLSearchParams({ export: made.id })}`} download={made.name}>
        {made.name}
      </a>
      <span class="muted number">
        {bytes(made.size_bytes)}, {count(made.messages)} messages of {made.tables} topics{made.skipped > 0 && `, ${count(made.skipped)} that are no map left out`}
      </span>
    </p>
  );
}

function Export({ name }: { name: string }) {
  const to = useSignal<Format>("parquet");
  const work = useSignal<{ number: number; to: Format } | null>(null);
  const running = useSignal(false);
  function begin(): void {
    work.value = { number: (work.value?.number ?? 0) + 1, to: to.value };
    running.value = true;
  }
  return (
    <Card title="Export">
      <div class="row">
        <Select label="Format" value={to.value} options={FORMATS} onChange={(format) => (to.value = format)} />
        <Button kind="primary" disabled={running.value} onClick={begin}>
          Export
        </Button>
        <span class="muted">{ABOUT[to.value]}</span>
      </div>
      {work.value && (
        <Work
          key={work.value.number}
          operation="session.export"
          body={{ session: name, to: work.value.to }}
          onDone={() => (running.value = false)}
          show={(made) => <Download made={made as Exported} />}
        />
      )}
      <p class="muted">
        Parts of it, and longer ones: <code>labwire export {shellWord(name)} --to {to.value}</code>
      </p>
    </Card>
  );
}

export function SessionPage({ name }: { name: string }) {
  const view = useSignal<SessionView | null>(null);
  const failure = useSignal("");
  const absent = useSignal(false);
  const cursor = useSignal(place.peek().at);
  const work = useSignal("");
  const possible = useSignal<string[]>([]);
  async function refresh(): Promise<void> {
    try {
      const found = await get<SessionView>("session/overview", { session: name });
      cursor.value = Math.min(cursor.peek(), found.overview.duration_s);
      [view.value, failure.value] = [found, ""];
    } catch (error) {
      failure.value = error instanceof Problem ? error.message : String(error);
      absent.value = error instanceof Problem && error.code === "NotFoundError";
    }
  }
  useEffect(() => {
    void refresh();
    void (async () => {
      const names = ["record.verify", "record.repair"];
      const known = await Promise.all(names.map(knows));
      possible.value = names.filter((_, n) => known[n]);
    })();
  }, [name]);
  useSignalEffect(() => {
    const { open, at } = place.value; // somebody has changed the address
    if (open === name) cursor.value = Math.min(at, view.peek()?.overview.duration_s ?? at);
  });
  useSignalEffect(() => {
    if (view.value) noteMoment(cursor.value);
  });
  const pictures = useComputed(() => Object.keys(view.value?.pictures ?? {}));
  const overview = view.value?.overview;
  const may = possible.value.filter((one) => one === "record.verify" || !hello.value?.read_only);
  return (
    <>
      <Card
        title={name}
        actions={
          <>
            {!absent.value &&
              overview?.state !== "recording" &&
              may.map((operation) => (
                <Button key={operation} disabled={work.value === operation} onClick={() => (work.value = operation)}>
                  {operation === "record.verify" ? "Verify" : "Repair"}
                </Button>
              ))}
            <Button onClick={() => go("sessions")}>Back to the list</Button>
          </>
        }
      >
        {failure.value && <p class="error">{failure.value}</p>}
        {!overview && !failure.value && <Empty title="Opening the session…" />}
        {overview && (
          <>
            <p class="row">
              <Pill level={levelOf(overview.state)}>{overview.state}</Pill>
              {overview.checked && <Pill level={overview.checked === "not whole" ? "bad" : "good"}>checked: {overview.checked}</Pill>}
              <span class="muted">{moment(overview.start_epoch_us)}</span>
            </p>
            {overview.failed.map((one) => (
              <p key={one.stream} class="error">
                {one.stream} did not record: {one.reason}
              </p>
            ))}
            <dl class="figures">
              <Figure label="length" value={duration(overview.duration_s)} />
              <Figure label="size" value={bytes(Object.values(view.value?.size_bytes ?? {}).reduce((sum, one) => sum + one, 0))} />
              <Figure label="messages" value={count(overview.topics.reduce((sum, one) => sum + one.messages, 0))} />
              <Figure label="topics" value={overview.topics.length} />
              <Figure label="pictures" value={count(Object.values(view.value?.pictures ?? {}).reduce((sum, one) => sum + one, 0))} />
              <Figure label="marks" value={overview.marks.length} />
            </dl>
          </>
        )}
        {work.value && (
          <Work
            key={work.value}
            body={{ session: name }}
            operation={work.value}
            onDone={() => void refresh()}
            show={work.value === "record.verify" ? (found) => <Verified found={found as Check} /> : undefined}
          />
        )}
      </Card>
      {view.value && (
        <>
          <Timeline name={name} view={view.value} cursor={cursor} />
          {pictures.value.length > 0 && <Frames name={name} topics={pictures.value} cursor={cursor} />}
          <SessionPlot name={name} topics={view.value.overview.topics.map(({ topic }) => topic)} cursor={cursor} />
          <Files name={name} view={view.value} />
          {!hello.value?.read_only && overview?.state !== "recording" && <Export name={name} />}
        </>
      )}
    </>
  );
}
