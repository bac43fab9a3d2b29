// The messages of a prefix as they come, one of them in full.
import { useSignal, type Signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { bytes } from "../format";
import { onMessage, want, type Message } from "../live";
import { Button, Card, Empty, Field, Scroll } from "../ui";
import { Tree } from "./tree";

const KEEP = 100;

function brief({ payload }: Message): string {
  return Object.entries(payload)
    .filter(([key]) => key !== "topic" && key !== "subject")
    .map(([key, value]) => `${key}: ${value !== null && typeof value === "object" ? (Array.isArray(value) ? `[${value.length}]` : "{…}") : String(value)}`)
    .join("  ");
}

function contains({ topic, payload }: Message, text: string): boolean {
  return !text || `${topic} ${JSON.stringify(payload)}`.toLowerCase().includes(text.toLowerCase());
}

export function Inspector({ prefix }: { prefix: Signal<string> }) {
  const messages = useSignal<Message[]>([]);
  const paused = useSignal(false);
  const filter = useSignal("");
  const open = useSignal<Message | null>(null);
  useEffect(() => {
    messages.value = [];
    open.value = null;
    let waiting: Message[] = [];
    const done = [
      onMessage((message) => {
        // What does not fit the filter would push out what does.
        if (message.topic.startsWith(prefix.value) && !paused.peek() && contains(message, filter.peek())) waiting.push(message);
      }),
      want({ all: [prefix.value] }),
    ];
    const timer = setInterval(() => {
      if (!waiting.length) return;
      messages.value = [...messages.value, ...waiting].slice(-KEEP);
      waiting = [];
    }, 200);
    return () => {
      clearInterval(timer);
      for (const end of done) end();
    };
  }, [prefix.value]);
  const shown = messages.value.filter((one) => contains(one, filter.value));
  const last = open.value ?? shown.at(-1);
  return (
    <>
      <Card
        title="Messages"
        actions={
          <Button pressed={paused.value} onClick={() => (paused.value = !paused.value)}>
            {paused.value ? "Go on" : "Pause"}
          </Button>
        }
      >
        <div class="row">
          <Field inline label="Topic begins with" value={prefix} />
          <Field inline label="Contains" value={filter} />
        </div>
        {shown.length ? (
          <Scroll label="Messages" class="messages">
            <ol class="log">
              {[...shown].reverse().map((one) => (
                <li key={one.number} class={one === open.value ? "chosen" : ""}>
                  <button type="button" class="link" onClick={() => (open.value = open.value === one ? null : one)}>
                    <time>{one.time.toFixed(3)}</time> {one.topic}
                  </button>
                  <span class="muted cut">{brief(one)}</span>
                </li>
              ))}
            </ol>
          </Scroll>
        ) : (
          <Empty title="No message yet">{filter.value ? "None that contains this." : "Nothing has come on this topic since you look."}</Empty>
        )}
      </Card>
      {last && (
        <Card title={open.value ? `${last.topic} at ${last.time.toFixed(3)}` : `Newest: ${last.topic}`}>
          {last.rawBytes > 0 && <p class="muted">{bytes(last.rawBytes)} in raw parts</p>}
          <Scroll label="Payload" class="payload">
            <Tree value={last.payload} />
          </Scroll>
        </Card>
      )}
    </>
  );
}
