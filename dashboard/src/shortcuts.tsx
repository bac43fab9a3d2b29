// Keys, dead inside input fields; the help that shows them; the questions they ask.
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { call, notify, store, stored, userName } from "./api";
import { hello } from "./live";
import { startRecording } from "./record";
import { recording } from "./state";
import { attempt, Button, Dialog, Field, Select, toast } from "./ui";

export const helpOpen = signal(false);
const stopAsked = signal(false);
const markAsked = signal(false);
const markLabel = signal("");
const theme = signal(stored("theme") || "auto");

export function askStop(): void {
  if (recording.value) stopAsked.value = true;
  else toast("nothing is being recorded");
}

export function askMark(): void {
  markLabel.value = "";
  markAsked.value = true;
}

interface Stopped {
  rec_path: string;
  duration_s: number;
}

async function stop(): Promise<void> {
  stopAsked.value = false;
  const stopped = await call<Stopped>("record.stop");
  toast(`recorded: ${stopped.rec_path}`);
}

async function mark(): Promise<void> {
  const label = markLabel.value.trim() || "mark";
  markAsked.value = false;
  await call("record.mark", { label });
  toast(`marked: ${label}`);
}

const KEYS: [string, string, () => unknown][] = [
  ["R", "Start recording", () => startRecording()],
  ["r", "Stop recording (asks first)", askStop],
  ["C", "Start the calibration", () => notify("calibration.should_start")],
  ["c", "Stop the calibration", () => notify("calibration.should_stop")],
  ["M", "Put a mark", askMark],
  ["?", "This help", () => (helpOpen.value = !helpOpen.value)],
];

function onKey(event: KeyboardEvent): void {
  const target = event.target as HTMLElement;
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  if (target.closest("input, textarea, select, [contenteditable]") || document.querySelector("dialog[open]")) return;
  const found = KEYS.find(([key]) => key === event.key);
  if (!found || (hello.value?.read_only && found[0] !== "?")) return;
  event.preventDefault();
  void attempt(found[2]);
}

export function Shortcuts() {
  useEffect(() => {
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
  return (
    <>
      {stopAsked.value && (
        <Dialog
          title="Stop recording?"
          onClose={() => (stopAsked.value = false)}
          actions={
            <>
              <Button onClick={() => (stopAsked.value = false)}>Go on</Button>
              <Button kind="danger" onClick={stop}>
                Stop recording
              </Button>
            </>
          }
        >
          <p>The session ends and its files are made whole.</p>
        </Dialog>
      )}
      {markAsked.value && (
        <Dialog
          title="Put a mark"
          onClose={() => (markAsked.value = false)}
          actions={
            <>
              <Button onClick={() => (markAsked.value = false)}>Cancel</Button>
              <Button kind="primary" onClick={mark}>
                Mark
              </Button>
            </>
          }
        >
          <form
            onSubmit={(event) => {
              event.preventDefault();
              void attempt(mark);
            }}
          >
            <Field label="What happened" value={markLabel} placeholder="mark" />
          </form>
        </Dialog>
      )}
    </>
  );
}

function setTheme(value: string): void {
  theme.value = value;
  store("theme", value === "auto" ? "" : value);
  if (value === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = value;
}

export function Help() {
  if (!helpOpen.value) return null;
  return (
    <Dialog
      title="Help"
      onClose={() => {
        store("name", userName.value);
        helpOpen.value = false;
      }}
    >
      <dl class="keys">
        {KEYS.map(([key, text]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{text}</dd>
          </div>
        ))}
      </dl>
      <Field label="Your name" value={userName} hint="The log has it beside each change that you make." />
      <Select label="Colours" value={theme.value} options={[["auto", "as the system"], "light", "dark"]} onChange={setTheme} />
      <p class="muted">
        Rig at <code>{hello.value?.remote}</code>
      </p>
    </Dialog>
  );
}
