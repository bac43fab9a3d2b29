// What the actors say of themselves when asked: meta.doc.
import { useComputed, useSignal } from "@preact/signals";
import { notify } from "../api";
import { hello } from "../live";
import { notifications } from "../state";
import { Button, Card, Empty } from "../ui";

export function Documents() {
  const asked = useSignal(false);
  const found = useComputed(() => {
    const byActor = new Map<string, { actor: string; doc: string; class: string }>();
    for (const { topic, payload } of notifications.value)
      if (topic === "notify.meta.doc") byActor.set(String(payload.actor), payload as unknown as { actor: string; doc: string; class: string });
    return [...byActor.values()].sort((a, b) => a.actor.localeCompare(b.actor));
  });
  async function ask(): Promise<void> {
    asked.value = true;
    await notify("meta.should_doc");
  }
  return (
    <Card title="What the actors react to and emit" actions={!hello.value?.read_only && <Button onClick={ask}>Ask them</Button>}>
      {found.value.length ? (
        found.value.map((one) => (
          <details key={one.actor} open={found.value.length < 4}>
            <summary>
              {one.actor} <span class="muted">{one.class}</span>
            </summary>
            <pre class="doc" tabIndex={0}>
              {one.doc}
            </pre>
          </details>
        ))
      ) : (
        <Empty title={asked.value ? "Waiting for answers…" : "Nobody has been asked yet"}>
          Every actor answers the notification meta.should_doc with its documentation.
        </Empty>
      )}
    </Card>
  );
}
