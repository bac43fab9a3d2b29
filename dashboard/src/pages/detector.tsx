// A detector's run: how far it is, who has acknowledged it, and how to start and end one.
import { useSignal } from "@preact/signals";
import { call } from "../api";
import { bytes, count, rate } from "../format";
import { hello } from "../live";
import { actors, newest, words } from "../state";
import { Button, Card, Field, Pill, toast, type Level } from "../ui";

/** What one connection has had of a run. */
interface Share {
  socket_number: number;
  writer: string;
  sent: number;
  acknowledged: number;
  failed: number;
}
export interface Detector {
  name: string;
  state: string;
  stream: string;
  preview_address: string;
  writers: number | null;
  run_number: number | null;
  done_images: number;
  total_images: number;
  acknowledged: number;
  failed: number;
  dropped: number;
  waiting: number | null;
  sockets: Share[];
  images_per_s: number;
  bytes_per_s: number;
  last_run: { run_number: number; run_name: string; ok: boolean; images: number; missing: number | null; error: string | null } | null;
  last_error: string;
}

function levelOf(state: string): Level {
  return state === "running" ? "good" : state === "idle" ? "idle" : state === "unreachable" ? "bad" : "warn";
}

type Pair = [string, string, boolean?];

function Pairs({ rows }: { rows: Pair[] }) {
  return (
    <dl class="pairs">
      {rows.map(([key, value, bad]) => (
        <div key={key}>
          <dt>{key}</dt>
          <dd class={bad ? "bad-text" : ""}>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

export function Run({ detector: first }: { detector: Detector }) {
  const images = useSignal("");
  const prefix = useSignal("");
  const told = newest.value.get(`detector.${first.name}.state`)?.payload;
  const actor = actors.value?.find((one) => one.name === first.name)?.state;
  const gone = actor !== undefined && actor !== "running" ? { state: "unreachable", sockets: [], waiting: null } : {};
  const detector = { ...first, ...(told as Partial<Detector> | undefined), ...gone }; // what a dead one told last is old
  const busy = ["arming", "armed", "running", "ending"].includes(detector.state);
  const { last_run: last } = detector;
  async function start(): Promise<void> {
    const asked: Record<string, unknown> = { name: first.name };
    if (images.value) asked.images = Number(images.value);
    if (prefix.value) asked.file_prefix = prefix.value;
    const begun = await call<Detector>("detectors.start", asked);
    toast(`run ${begun.run_number ?? ""} begins`);
  }
  return (
    <Card title={`Run of ${first.name}`}>
      <p class="row">
        <Pill level={levelOf(detector.state)}>{words(detector.state)}</Pill>
        {detector.run_number !== null && <span class="muted">run {detector.run_number}</span>}
      </p>
      <progress value={detector.done_images} max={Math.max(1, detector.total_images)} aria-label="Images of the run" />
      <Pairs
        rows={[
          ["images", `${count(detector.done_images)} of ${count(detector.total_images)}`],
          ["images/s", rate(detector.images_per_s)],
          ["bytes/s", bytes(detector.bytes_per_s)],
          ["queue", detector.waiting === null ? "–" : count(detector.waiting)],
          ["acknowledged", count(detector.acknowledged)],
          ["failed", count(detector.failed), detector.failed > 0],
          ["dropped", count(detector.dropped), detector.dropped > 0],
          ...(detector.writers !== null && !detector.sockets.length ? ([["writers", count(detector.writers)]] as Pair[]) : []),
          ...(last ? ([["last run", last.ok ? `${count(last.images)} images, whole` : (last.error ?? "not whole"), !last.ok]] as Pair[]) : []),
          ["missing", typeof last?.missing === "number" && !busy ? count(last.missing) : "–", !busy && Boolean(last?.missing)],
        ]}
      />
      {detector.state === "running" && !detector.sockets.length && detector.stream !== "none" && (
        <p class="note">Shown, not stored: the run has no file prefix.</p>
      )}
      {detector.sockets.length > 0 && (
        <ul class="writers" aria-label="Writers of the run">
          {detector.sockets.map((one) => (
            <li key={one.socket_number}>
              <b class="number">{one.writer}</b>
              <span class={`number ${one.failed ? "bad-text" : "muted"}`}>
                {count(one.acknowledged)} of {count(one.sent)} acknowledged{one.failed > 0 && `, ${count(one.failed)} failed`}
              </span>
            </li>
          ))}
        </ul>
      )}
      {detector.last_error && !busy && !(last?.ok && last.run_number === detector.run_number) && <p class="error">{detector.last_error}</p>}
      {!hello.value?.read_only &&
        (busy ? (
          <div class="row">
            <Button onClick={() => call("detectors.stop", { name: first.name })}>End run</Button>
            <Button kind="danger" onClick={() => call("detectors.cancel", { name: first.name })}>
              Cancel
            </Button>
          </div>
        ) : (
          <>
            <Field label="Images" value={images} placeholder="as in the rig file" />
            <Field label="File prefix" value={prefix} placeholder="as in the rig file" />
            <div class="row">
              <Button kind="primary" onClick={start}>
                Start run
              </Button>
            </div>
          </>
        ))}
    </Card>
  );
}

interface Writer {
  name: string;
  state: string;
  address: string;
  connected: number;
  images: number;
  images_hz: number;
  waiting_images: number;
  failed: number;
  missing: number;
  last_error: string;
}

function levelOfWriter(one: Writer): Level {
  if (one.state === "unreachable" || one.failed || one.missing) return "bad";
  return one.state === "writing" ? "good" : one.state === "connecting" ? "warn" : "idle";
}

/** The rig's own writers; those of others are known by their connections only. */
export function Writers() {
  const all = [...newest.value.values()]
    .filter(({ topic }) => topic.startsWith("writer.") && topic.endsWith(".state"))
    .map(({ payload }) => payload as unknown as Writer)
    .sort((a, b) => a.name.localeCompare(b.name));
  if (!all.length) return null;
  return (
    <Card title="Writers">
      <ul class="writers">
        {all.map((one) => (
          <li key={one.name}>
            <b>{one.name}</b>
            <Pill level={levelOfWriter(one)}>{words(one.state)}</Pill>
            <span class={`number ${one.failed + one.missing ? "bad-text" : "muted"}`}>
              {rate(one.images_hz)} images/s, {count(one.waiting_images)} wait for the disk, {count(one.images)} stored
              {one.missing > 0 && `, ${count(one.missing)} missing`}
              {one.failed > 0 && `, ${count(one.failed)} failed`}
            </span>
            {one.last_error && <span class="bad-text">{one.last_error}</span>}
          </li>
        ))}
      </ul>
    </Card>
  );
}
