// What is on the bus: topics, messages, log, documentation; and a way to put something there.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { hello } from "../live";
import { go, place } from "../route";
import { Documents } from "./documents";
import { Inspector } from "./inspector";
import { LogTail } from "./logtail";
import { Send } from "./send";
import { Topics } from "./topics";

const VIEWS = [["messages", "Messages"], ["log", "Log"], ["docs", "Documentation"], ["send", "Send"]] as const;

/** The tab and topic of an address: `log`, `messages/recorder.state`. */
function opened(open: string): { tab: string; topic: string } {
  const [tab = "", ...topic] = open.split("/");
  const known = VIEWS.some(([id]) => id === tab && (id !== "send" || !hello.value?.read_only));
  return { tab: known ? tab : "messages", topic: known ? topic.join("/") : "" };
}

export function Bus() {
  const prefix = useSignal("recorder.state");
  const { tab, topic } = opened(place.value.open);
  useEffect(() => {
    if (topic) prefix.value = topic;
  }, [topic]);
  return (
    <div class="with-side left">
      <Topics chosen={prefix} onChoose={(topic) => go("bus", `messages/${topic}`)} />
      <div class="stack grow">
        <div class="tabs" role="tablist" aria-label="Bus">
          {VIEWS.filter(([id]) => id !== "send" || !hello.value?.read_only).map(([id, title]) => (
            <button key={id} type="button" role="tab" id={`tab-${id}`} aria-selected={tab === id} onClick={() => go("bus", id)}>
              {title}
            </button>
          ))}
        </div>
        <div role="tabpanel" aria-labelledby={`tab-${tab}`} class="stack">
          {tab === "messages" && <Inspector prefix={prefix} />}
          {tab === "log" && <LogTail />}
          {tab === "docs" && <Documents />}
          {tab === "send" && <Send />}
        </div>
      </div>
    </div>
  );
}
