// Record, mark, and see what has been recorded.
import { useSignal, useSignalEffect } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { call, look, notify, Problem } from "../api";
import { bytes, count, duration, hours, moment } from "../format";
import { hello } from "../live";
import { notifications, recorder, recording } from "../state";
import { askMark, askStop } from "../shortcuts";
import { attempt, Button, Card, Check, Empty, Field, Figure, Pill, Scroll, toast } from "../ui";
import { levelOf, SessionPage } from "./session";

interface Session {
  name: string;
  path: string;
  start_epoch_us: number;
  duration_s: number;
  state: string;
  size_bytes: number;
  messages: number;
  gaps: number;
  dropped: number;
}
interface Failure {
  stream: string;
  reason: string;
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
  async function start(): Promise<void> {
    const begun = await call<{ session_name: string; failed: Failure[] }>("record.start", { name: name.value.trim(), require: require.value });
    for (const one of begun.failed) toast(`${one.stream} does not record: ${one.reason}`, "bad");
  }
  const readOnly = hello.value?.read_only;
  return (
    <Card title="Recorder">
      <dl class="figures">
        <Figure label="state" value={recording.value ? `REC ${duration(state.duration_s)}` : "idle"} level={recording.value ? "record" : undefined} />
        <Figure label="written" value={recording.value ? bytes(state.written_bytes) : "–"} />
        <Figure label="messages" value={recording.value ? count(state.written) : "–"} />
        <Figure label="dropped" value={recording.value ? count(state.dropped) : "–"} level={Number(state.dropped) ? "bad" : undefined} />
        <Figure label="disk lasts" value={hours(state.disk_hours)} />
      </dl>
      {recording.value && <p class="muted cut">{String(state.rec_path ?? "")}</p>}
      {!readOnly && (
        <div class="row">
          {recording.value ? (
            <>
              <Button kind="danger" onClick={askStop}>
                Stop recording
              </Button>
              <Button onClick={askMark}>Mark</Button>
            </>
          ) : (
            <form
              class="row"
              onSubmit={(event) => {
                event.preventDefault();
                void attempt(start);
              }}
            >
              <Field inline label="Name" value={name} placeholder="today's date" />
              <Check label="all streams or none" checked={require.value} onChange={(on) => (require.value = on)} />
              <button type="submit" class="primary">
                Start recording
              </button>
            </form>
          )}
          <Button onClick={() => notify("calibration.should_start")}>Calibrate</Button>
        </div>
      )}
    </Card>
  );
}

export function Sessions() {
  const sessions = useSignal<Session[] | null>(null);
  const open = useSignal<string | null>(null);
  const filter = useSignal("");
  async function refresh(): Promise<void> {
    try {
      sessions.value = await look<Session[]>("record.list");
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      sessions.value = [];
    }
  }
  useSignalEffect(() => {
    void notifications.value.filter((one) => one.topic.startsWith("notify.recording.")).length;
    void refresh();
  });
  useEffect(() => {
    const timer = setInterval(() => void refresh(), 5000);
    return () => clearInterval(timer);
  }, []);
  const shown = (sessions.value ?? []).filter(({ name }) => name.toLowerCase().includes(filter.value.toLowerCase()));
  if (open.value !== null) return <SessionPage name={open.value} onBack={() => (open.value = null)} />;
  return (
    <>
      <Recorder />
      <Card title="Sessions" actions={<Field inline label="Filter" value={filter} />}>
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
                  <tr key={one.name} onClick={() => (open.value = one.name)}>
                    <td class="session-name">
                      <button type="button" class="link">
                        {one.name}
                      </button>
                    </td>
                    <td>
                      <Pill level={levelOf(one.state)}>{one.state}</Pill>
                    </td>
                    <td class="number">{moment(one.start_epoch_us)}</td>
                    <td class="right number">{duration(one.duration_s)}</td>
                    <td class="right number">{bytes(one.size_bytes)}</td>
                    <td class="right number wide-only">{count(one.messages)}</td>
                    <td class={`right number wide-only ${one.gaps + one.dropped ? "bad-text" : ""}`}>{count(one.gaps + one.dropped)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </Scroll>
        ) : (
          <Empty title={!sessions.value ? "Looking for sessions…" : filter.value ? "No session has that name" : "Nothing has been recorded yet"}>
            {sessions.value && !filter.value && "Press R, or Record above."}
          </Empty>
        )}
      </Card>
    </>
  );
}
