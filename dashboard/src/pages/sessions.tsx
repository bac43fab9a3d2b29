// Record, mark, and see what has been recorded.
import { useComputed, useSignal, useSignalEffect } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { look, notify, Problem } from "../api";
import { bytes, count, duration, hours, moment } from "../format";
import { hello } from "../live";
import { findOffers, leftOut, offers, startRecording } from "../record";
import { addressOf, go, place } from "../route";
import { actors, diskShort, kindOf, notifications, recorder, recorderDown, recording } from "../state";
import { askMark, askStop } from "../shortcuts";
import { attempt, Button, Card, Check, Empty, Field, Figure, Pill, Scroll } from "../ui";
import { levelOf, SessionPage } from "./session";

interface Session {
  name: string;
  path: string;
  start_epoch_us: number;
  duration_s: number;
  state: string;
  size_bytes: number;
  messages: number | null; // null while nobody has counted: another recorder writes it, or it was cut off
  gaps: number | null;
  dropped: number | null;
  ended: string; // empty if somebody asked for it
}

/** Messages known to be missing, or not written; null if nobody knows. */
function lost({ gaps, dropped }: Session): number | null {
  return gaps === null || dropped === null ? null : gaps + dropped;
}

/** What the next session can have; it changes with the parts of the rig. */
function Include() {
  const parts = useComputed(() => (actors.value ?? []).map((one) => `${one.name} ${one.services.join()}`).join());
  useSignalEffect(() => {
    if (parts.value) void findOffers();
  });
  useEffect(() => {
    const timer = setInterval(() => {
      if (!offers.peek().length) void findOffers(); // it did not answer
    }, 3000);
    return () => clearInterval(timer);
  }, []);
  function choose(name: string, on: boolean): void {
    const next = new Set(leftOut.value);
    if (on) next.delete(name);
    else next.add(name);
    leftOut.value = next;
  }
  return (
    <fieldset class="include">
      <legend>Record</legend>
      {offers.value.map((one) => (
        <Check
          key={one.name}
          label={one.name}
          unit={one.about.includes(":") ? kindOf(one.about) : one.about}
          checked={one.always || !leftOut.value.has(one.name)}
          disabled={one.always}
          onChange={(on) => choose(one.name, on)}
        />
      ))}
    </fieldset>
  );
}

function Recorder() {
  const name = useSignal("");
  const require = useSignal(false);
  const state = recorder.value;
  if (!state)
    return (
      <Card title="Recorder">
        <Empty title="This rig has no recorder">Add [recorder] to the rig file.</Empty>
      </Card>
    );
  const readOnly = hello.value?.read_only;
  return (
    <Card title="Recorder">
      <dl class="figures">
        <Figure label={recording.value ? "recording" : "state"} value={recorderDown.value || (recording.value ? duration(state.duration_s) : "idle")} level={recorderDown.value ? "bad" : recording.value ? "record" : undefined} />
        <Figure label="written" value={recording.value ? bytes(state.written_bytes) : "–"} />
        <Figure label="records" value={recording.value ? count(state.written) : "–"} />
        <Figure label="dropped" value={recording.value ? count(state.dropped) : "–"} level={Number(state.dropped) ? "bad" : undefined} />
        <Figure label={recording.value ? "disk lasts" : "disk would last"} value={recorderDown.value ? "–" : hours(state.disk_hours)} level={diskShort.value ? "warn" : undefined} />
      </dl>
      {recording.value && <p class="muted cut">{String(state.rec_path ?? "")}</p>}
      {!readOnly &&
        !recorderDown.value &&
        (recording.value ? (
          <div class="row">
            <Button kind="danger" onClick={askStop}>
              Stop recording
            </Button>
            <Button onClick={askMark}>Mark</Button>
            <Button onClick={() => notify("calibration.should_start")}>Calibrate</Button>
          </div>
        ) : (
          <form
            class="recorder"
            onSubmit={(event) => {
              event.preventDefault();
              void attempt(() => startRecording(name.value.trim(), require.value));
            }}
          >
            <Include />
            <div class="row">
              <Field inline label="Name" value={name} placeholder="today's date" />
              <button type="submit" class="primary">
                Start recording
              </button>
              <Check label="only if all of them can" checked={require.value} onChange={(on) => (require.value = on)} />
              <span class="space" />
              <Button onClick={() => notify("calibration.should_start")}>Calibrate</Button>
            </div>
          </form>
        ))}
    </Card>
  );
}

export function Sessions() {
  const sessions = useSignal<Session[] | null>(null);
  const filter = useSignal("");
  const failure = useSignal("");
  async function refresh(): Promise<void> {
    if (!recorder.peek()) return;
    if (recorderDown.peek()) {
      failure.value = `the recorder is ${recorderDown.peek()}`;
      return;
    }
    try {
      sessions.value = await look<Session[]>("record.list");
      failure.value = "";
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      failure.value = error.message;
    }
  }
  const present = useComputed(() => recorder.value !== null);
  useSignalEffect(() => {
    void notifications.value.filter((one) => one.topic.startsWith("notify.recording.")).length;
    void present.value;
    void recorderDown.value;
    void refresh();
  });
  useEffect(() => {
    const timer = setInterval(() => void refresh(), 5000);
    return () => clearInterval(timer);
  }, []);
  const shown = (sessions.value ?? []).filter(({ name }) => name.toLowerCase().includes(filter.value.toLowerCase()));
  const { open } = place.value;
  if (open) return <SessionPage key={open} name={open} />;
  if (!present.value) return <Recorder />;
  return (
    <>
      <Recorder />
      <Card title="Sessions" actions={<Field inline label="Filter" value={filter} />}>
        {failure.value && <p class="error">{sessions.value && "This list is old: "}
            {failure.value}</p>}
        {shown.length ? (
          <Scroll label="Sessions">
            <table class="rows">
              <thead>
                <tr>
                  <th>session</th>
                  <th>state</th>
                  <th>began</th>
                  <th class="right">length</th>
                  <th class="right">size</th>
                  <th class="right wide-only">messages</th>
                  <th class="right wide-only" title="missing by their numbers, or not written">
                    gaps
                  </th>
                </tr>
              </thead>
              <tbody>
                {shown.map((one) => (
                  <tr key={one.name} onClick={(event) => event.target instanceof HTMLAnchorElement || go("sessions", one.name)}>
                    <td class="session-name">
                      <a href={addressOf("sessions", one.name)}>{one.name}</a>
                    </td>
                    <td>
                      <Pill level={levelOf(one.state)}>{one.ended ? `${one.state}, ${one.ended.replace("_", " ")}` : one.state}</Pill>
                    </td>
                    <td class="number">{moment(one.start_epoch_us)}</td>
                    <td class="right number">{duration(one.duration_s)}</td>
                    <td class="right number">{bytes(one.size_bytes)}</td>
                    <td class="right number wide-only">{count(one.messages)}</td>
                    <td class={`right number wide-only ${lost(one) ? "bad-text" : ""}`}>{count(lost(one))}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </Scroll>
        ) : failure.value ? null : (
          <Empty title={!sessions.value ? "Looking for sessions…" : filter.value ? "No session has that name" : "Nothing has been recorded yet"}>
            {sessions.value && !filter.value && !hello.value?.read_only && "Press R, or Start recording above."}
          </Empty>
        )}
      </Card>
    </>
  );
}
