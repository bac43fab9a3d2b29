// Two seconds: is the rig well? What is wrong stands first; a click tells more.
import { useComputed } from "@preact/signals";
import { call } from "../api";
import { bytes, count, duration, figure, hours, logText, rate } from "../format";
import { hello, type Message } from "../live";
import { addressOf, go, place } from "../route";
import { actors, BAD_INSTRUMENT, deaths, diskShort, instruments, kindOf, log, newest, recorder, recorderDown, recording, refreshActors, warnings, words } from "../state";
import { Button, Card, Dialog, Empty, Figure, Pill, Scroll, type Level } from "../ui";
import { LogLines } from "./log";

interface Row {
  kind: string;
  name: string;
  state: string;
  level: Level;
  rate: string;
  dropped: number | null;
  restarts: number | null;
  error: string;
  details: Record<string, unknown>;
  /** Service whose `restart` and `stop` take its name. */
  service: string;
}

const ORDER: Level[] = ["bad", "warn", "record", "good", "idle"];

function levelOf(state: string, error: string): Level {
  if (["running", "remote", "ready", "busy"].includes(state)) return "good";
  if (["starting", "stopping", "waiting"].includes(state)) return "warn";
  if (state === "stopped" && !error) return "idle";
  return BAD_INSTRUMENT.has(state) || error || state === "silent" ? "bad" : "idle";
}

function levelOfPart(state: string): Level {
  return state === "unreachable" ? "bad" : state === "connecting" ? "warn" : "good";
}

/** What a part makes per second: images as it tells itself, else messages as the topics tell; that it tells is none. */
function rateOf(name: string): string {
  const part = partOf(name)?.payload;
  const told = part?.images_per_s ?? part?.images_hz;
  if (typeof told === "number") return rate(told);
  const topics = (newest.value.get("bus.stats")?.payload.topics ?? []) as { topic: string; messages_hz: number }[];
  const own = topics.filter(({ topic }) => topic.split(".").includes(name) && !topic.endsWith(".state") && !PARTS[topic.slice(0, topic.indexOf(".") + 1)]);
  return own.length ? rate(own.reduce((sum, topic) => sum + topic.messages_hz, 0)) : "";
}

const PARTS: Record<string, string> = { "camera.": "camera", "detector.": "detector", "writer.": "writer" };

function partOf(name: string): Message | undefined {
  return Object.keys(PARTS)
    .map((prefix) => newest.value.get(prefix + name) ?? newest.value.get(`${prefix}${name}.state`))
    .find((message) => message !== undefined);
}

function rows(): Row[] {
  const found: Row[] = (actors.value ?? []).map((actor) => {
    const part = partOf(actor.name)?.payload;
    // A process that runs is not all of it: a writer may look for its detector.
    const own = actor.state === "running" && typeof part?.state === "string" ? part.state : "";
    return {
      kind: kindOf(actor.actor_class),
      name: actor.name,
      state: own || actor.state,
      level: deaths.value.has(actor.name) ? "bad" : own ? levelOfPart(own) : levelOf(actor.state, actor.last_error),
      rate: rateOf(actor.name),
      dropped: typeof part?.dropped === "number" ? part.dropped : null,
      restarts: actor.restarts,
      error: actor.state === "running" && !actor.restarts ? String(part?.last_error ?? "") : actor.last_error,
      details: { ...actor, ...(part ?? {}) },
      service: "actors",
    };
  });
  for (const one of instruments.value) {
    found.push({
      kind: "instrument",
      name: one.name,
      state: one.state,
      level: deaths.value.has(one.name) ? "bad" : levelOf(one.state, ""),
      rate: rateOf(one.name),
      dropped: one.dropped,
      restarts: one.restarts,
      error: deaths.value.get(one.name) ?? one.last_error,
      details: { ...one },
      service: "instruments",
    });
  }
  return found
    .map((row, place) => ({ row, place }))
    .sort((a, b) => ORDER.indexOf(a.row.level) - ORDER.indexOf(b.row.level) || a.place - b.place)
    .map(({ row }) => row);
}

function Detail({ row, onClose }: { row: Row; onClose: () => void }) {
  const lines = log.value.filter(({ payload }) => payload.name === row.name || logText(payload).includes(row.name)).slice(-50);
  const stopped = row.state === "stopped";
  async function act(what: "restart" | "start" | "stop"): Promise<void> {
    await call(`${row.service}.${what}`, { name: row.name });
    await refreshActors();
  }
  return (
    <Dialog
      title={row.name}
      onClose={onClose}
      actions={
        <>
          {!hello.value?.read_only && (
            <>
              {!stopped && (
                <Button kind="danger" onClick={() => act("stop")}>
                  Stop
                </Button>
              )}
              {/* an actor that is stopped is started by a restart */}
              <Button onClick={() => act(stopped && row.service === "instruments" ? "start" : "restart")}>{stopped ? "Start" : "Restart"}</Button>
            </>
          )}
          <Button onClick={onClose}>Close</Button>
        </>
      }
    >
      <p class="row">
        <Pill level={row.level}>{words(row.state)}</Pill> <span class="muted">{row.kind}</span>
      </p>
      {row.error && <p class="error">{row.error}</p>}
      <Scroll label="Details" class="details">
        <dl class="pairs">
          {Object.entries(row.details)
            .filter(([, value]) => value !== "" && value !== null && !(Array.isArray(value) && !value.length))
            .map(([key, value]) => (
              <div key={key}>
                <dt>{words(key)}</dt>
                <dd>{Array.isArray(value) ? value.join(", ") : figure(value)}</dd>
              </div>
            ))}
        </dl>
        <h3>Log</h3>
        {lines.length ? <LogLines lines={lines} /> : <p class="muted">Nothing was logged lately.</p>}
      </Scroll>
    </Dialog>
  );
}

function Warnings() {
  if (!warnings.value.length) return null;
  return (
    <ul class="warnings" aria-label="Problems">
      {warnings.value.slice(0, 6).map((one) => (
        <li key={one.text} class={one.level}>
          <a href={addressOf(one.page, one.open)}>{one.text}</a>
        </li>
      ))}
    </ul>
  );
}

export function Overview() {
  const shown = useComputed(rows);
  const state = recorder.value;
  const stats = newest.value.get("bus.stats")?.payload;
  const chosen = shown.value.find((row) => `${row.service}/${row.name}` === place.value.open);
  return (
    <>
      <Warnings />
      <dl class="figures">
        <Figure
          label={recording.value ? "recording" : "recorder"}
          value={!state ? "none" : recorderDown.value || (recording.value ? duration(state.duration_s) : "idle")}
          level={recorderDown.value ? "bad" : recording.value ? "record" : undefined}
        />
        <Figure label={recording.value ? "disk lasts" : "disk would last"} value={state && !recorderDown.value ? hours(state.disk_hours) : "–"} level={diskShort.value ? "warn" : undefined} />
        <Figure label="disk free" value={state ? bytes(state.free_bytes) : "–"} />
        <Figure label="messages" value={stats ? rate(stats.messages_hz) : "–"} unit="/s" />
        <Figure label="traffic" value={stats ? bytes(stats.bytes_hz) : "–"} unit="/s" />
        <Figure
          label="readers cut"
          value={stats ? count(stats.slow_subscribers_cut) : "–"}
          level={stats && Number(stats.slow_subscribers_cut) > 0 ? "warn" : undefined}
        />
      </dl>
      <Card title="Parts of the rig">
        {shown.value.length ? (
          <Scroll label="Parts of the rig">
            <table class="rows">
              <thead>
                <tr>
                  <th>name</th>
                  <th>state</th>
                  <th class="wide-only">kind</th>
                  <th class="right">rate /s</th>
                  <th class="right">drops</th>
                  <th class="right wide-only">restarts</th>
                  <th>last error</th>
                </tr>
              </thead>
              <tbody>
                {shown.value.map((row) => {
                  const key = `${row.service}/${row.name}`;
                  return (
                    <tr key={key} onClick={() => go("overview", key)} class={row.level}>
                      <td>
                        <button type="button" class="link">
                          {row.name}
                        </button>
                      </td>
                      <td>
                        <Pill level={row.level}>{words(row.state)}</Pill>
                      </td>
                      <td class="muted wide-only">{row.kind}</td>
                      <td class="right number">{row.rate}</td>
                      <td class={`right number ${row.dropped ? "bad-text" : ""}`}>{row.dropped ?? ""}</td>
                      <td class="right number wide-only">{row.restarts || ""}</td>
                      <td class="cut" title={row.error}>
                        {row.error}
                      </td>
                    </tr>
                  );
                })}
              </tbody>
            </table>
          </Scroll>
        ) : (
          <Empty title={actors.value ? "This rig has no parts" : "Asking the rig…"} />
        )}
      </Card>
      {chosen && <Detail row={chosen} onClose={() => go("overview")} />}
    </>
  );
}
