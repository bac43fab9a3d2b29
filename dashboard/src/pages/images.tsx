// Live pictures of cameras and detectors.
import { useComputed, useSignal, useSignalEffect } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { look as ask, Problem } from "../api";
import { figure, rate } from "../format";
import { connection, type Payload } from "../live";
import { newest, words } from "../state";
import { Card, Empty, Scroll, Select } from "../ui";
import { Viewer } from "./viewer";

interface LastValue {
  topic: string;
  payload: Payload;
}

/** Topics that carry a picture: those that the bus has seen. */
function usePictureTopics() {
  const topics = useSignal<string[] | null>(null);
  async function find(): Promise<void> {
    try {
      const found = (await Promise.all(["frame.", "preview.", "image."].map((prefix) => ask<LastValue[]>("bus.last", { prefix })))).flat();
      const names = found.map(({ topic }) => topic).sort();
      if (names.join() !== topics.peek()?.join()) topics.value = names;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
    }
  }
  useSignalEffect(() => {
    if (connection.value === "live") void find();
  });
  useEffect(() => {
    const timer = setInterval(() => void find(), 2000);
    return () => clearInterval(timer);
  }, []);
  return topics;
}

/** What the part that a picture comes from says of itself. */
function Numbers({ topic }: { topic: string }) {
  const name = topic.split(".").slice(1).join(".");
  const stats = (newest.value.get("bus.stats")?.payload.topics ?? []) as { topic: string; messages_hz: number }[];
  const told = [...newest.value.values()].filter((one) =>
    [`camera.${name}`, `detector.${name}`, `detector.${name}.state`, `writer.${name}`, `writer.${name}.state`].includes(one.topic),
  );
  const hidden = new Set(["topic", "seq", "emitter", "timestamp", "name"]);
  return (
    <Card title="Source">
      <dl class="pairs">
        <div>
          <dt>images/s</dt>
          <dd>{rate(stats.find((one) => one.topic === topic)?.messages_hz ?? 0)}</dd>
        </div>
        {told.flatMap(({ topic: from, payload }) =>
          Object.entries(payload)
            .filter(([key, value]) => !hidden.has(key) && (typeof value !== "object" || value === null))
            .map(([key, value]) => (
              <div key={from + key}>
                <dt>{words(key)}</dt>
                <dd>{figure(value)}</dd>
              </div>
            )),
        )}
      </dl>
    </Card>
  );
}

export function Images() {
  const topics = usePictureTopics();
  const chosen = useSignal("");
  const shown = useComputed(() => (topics.value?.includes(chosen.value) ? chosen.value : (topics.value?.[0] ?? "")));
  if (!topics.value?.length)
    return (
      <Card title="Images">
        <Empty title={topics.value ? "No camera and no detector has sent a picture yet" : "Looking for pictures…"}>
          {topics.value && "Cameras stand under [cameras.NAME] in the rig file. A picture shows here as soon as it is on the bus."}
        </Empty>
      </Card>
    );
  return (
    <div class="with-side">
      <Card
        title={shown.value}
        class="grow"
        actions={
          topics.value.length > 1 && (
            <Select label="Source" value={shown.value} options={topics.value} onChange={(value) => (chosen.value = value)} />
          )
        }
      >
        <Viewer key={shown.value} topic={shown.value} />
      </Card>
      <Scroll label="About the source" class="side">
        <Numbers topic={shown.value} />
      </Scroll>
    </div>
  );
}
