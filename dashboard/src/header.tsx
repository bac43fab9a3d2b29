// The rig in one line: is it well, does it record, how long will the disk last.
import { useSignal, useSignalEffect } from "@preact/signals";
import { bytes, duration, hours } from "./format";
import { connection, hello, status } from "./live";
import { startRecording } from "./record";
import { askStop } from "./shortcuts";
import { recorder, recorderDown, recording, warnings } from "./state";
import { Button, Pill } from "./ui";

/** Rig time, running on between two statuses. */
function RigTime() {
  const shown = useSignal("");
  useSignalEffect(() => {
    const told = status.value;
    if (!told) return undefined;
    const since = performance.now();
    const show = () => (shown.value = (told.rig_time_s + (performance.now() - since) / 1000).toFixed(1));
    show();
    const timer = setInterval(show, 100);
    return () => clearInterval(timer);
  });
  return <span class="rig-time" title="Rig time">{shown.value ? `${shown.value} s` : ""}</span>;
}

function Health() {
  if (connection.value !== "live") return <Pill level="bad">{connection.value === "lost" ? "no connection" : "connecting"}</Pill>;
  const bad = warnings.value.filter((one) => one.level === "bad").length;
  if (bad) return <Pill level="bad">{bad === 1 ? "1 problem" : `${bad} problems`}</Pill>;
  if (warnings.value.length) return <Pill level="warn">attention</Pill>;
  return <Pill level="good">all well</Pill>;
}

export function Header() {
  const state = recorder.value;
  const readOnly = hello.value?.read_only;
  return (
    <header class="top">
      <a class="brand" href="#/overview">
        <svg viewBox="0 0 24 24" aria-hidden="true">
          <path d="M3 12h4l2-6 4 12 3-9 1.5 3H21" />
        </svg>
        <b>{hello.value?.rig ?? "labwire"}</b>
      </a>
      <Health />
      {readOnly && <Pill level="idle">read-only</Pill>}
      {state && (
        <>
          {recorderDown.value ? (
            <Pill level={recorderDown.value === "starting" ? "warn" : "bad"}>recorder {recorderDown.value}</Pill>
          ) : recording.value ? (
            <Pill level="record">
              <span class="number">REC {duration(state.duration_s)}</span>
            </Pill>
          ) : (
            <span class="wide-only">
              <Pill level="idle">not recording</Pill>
            </span>
          )}
          {!recorderDown.value && (
            <span class="disk" title={`Space left for recordings, ${recording.value ? "at the present rate" : "at the rate of what would be recorded now"}`}>
              disk {state.disk_hours === null ? bytes(state.free_bytes) : hours(state.disk_hours)}
            </span>
          )}
        </>
      )}
      <span class="space" />
      <RigTime />
      {state && !readOnly && !recorderDown.value && (
        <>
          {recording.value ? (
            <Button kind="danger" onClick={askStop} title="r">
              Stop
            </Button>
          ) : (
            <Button kind="primary" onClick={() => startRecording()} title="R">
              Record
            </Button>
          )}
        </>
      )}
    </header>
  );
}
