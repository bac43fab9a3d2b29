// What is on the bus: topics, messages, log, documentation; and a way to put something there.
import { useSignal } from "@preact/signals";
import { hello } from "../live";
import { Documents } from "./documents";
import { Inspector } from "./inspector";
import { LogTail } from "./logtail";
import { Send } from "./send";
import { Topics } from "./topics";

const VIEWS = [["messages", "Messages"], ["log", "Log"], ["docs", "Documentation"], ["send", "Send"]] as const;
type View = (typeof VIEWS)[number][0];

export function Bus() {
  const prefix = useSignal("recorder.state");
  const view = useSignal<View>("messages");
  return (
    <div class="with-side left">
      <Topics chosen={prefix} onChoose={() => (view.value = "messages")} />
      <div class="stack grow">
        <div class="tabs" role="tablist" aria-label="Bus">
          {VIEWS.filter(([id]) => id !== "send" || !hello.value?.read_only).map(([id, title]) => (
            <button key={id} type="button" role="tab" id={`tab-${id}`} aria-selected={view.value === id} onClick={() => (view.value = id)}>
              {title}
            </button>
          ))}
        </div>
        <div role="tabpanel" aria-labelledby={`tab-${view.value}`} class="stack">
          {view.value === "messages" && <Inspector prefix={prefix} />}
          {view.value === "log" && <LogTail />}
          {view.value === "docs" && <Documents />}
          {view.value === "send" && <Send />}
        </div>
      </div>
    </div>
  );
}
