// Put something on the bus by hand.
import { useSignal } from "@preact/signals";
import { notify, Problem, publish } from "../api";
import { attempt, Card, Field, toast } from "../ui";

function readFields(text: string): Record<string, unknown> {
  let found: unknown;
  try {
    found = JSON.parse(text || "{}");
  } catch (error) {
    throw new Problem("UsageError", `this is no JSON: ${error instanceof Error ? error.message : String(error)}`, 0);
  }
  if (found === null || typeof found !== "object" || Array.isArray(found)) throw new Problem("UsageError", "fields are a JSON object: {\"a\": 1}", 0);
  return found as Record<string, unknown>;
}

function Form(props: { title: string; name: string; placeholder: string; send: (name: string, fields: Record<string, unknown>) => Promise<unknown>; help: string }) {
  const name = useSignal("");
  const fields = useSignal("{}");
  async function submit(event: Event): Promise<void> {
    event.preventDefault();
    await attempt(async () => {
      await props.send(name.value.trim(), readFields(fields.value));
      toast(`sent ${name.value.trim()}`);
    });
  }
  return (
    <Card title={props.title}>
      <p class="muted">{props.help}</p>
      <form class="stack" onSubmit={(event) => void submit(event)}>
        <Field label={props.name} value={name} placeholder={props.placeholder} />
        <label class="field">
          <span>Fields (JSON)</span>
          <textarea rows={4} spellcheck={false} value={fields.value} onInput={(event) => (fields.value = event.currentTarget.value)} />
        </label>
        <div class="row">
          <button type="submit" class="primary" disabled={!name.value.trim()}>
            Send
          </button>
        </div>
      </form>
    </Card>
  );
}

export function Send() {
  return (
    <>
      <Form title="Notify" name="Subject" placeholder="recording.should_start" send={notify} help="A notification goes to all actors and is confirmed." />
      <Form title="Publish" name="Topic" placeholder="annotation" send={publish} help="A message on any topic." />
    </>
  );
}
