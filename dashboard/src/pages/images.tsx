// Live pictures of cameras and detectors.
import { useComputed, useSignal, useSignalEffect, type Signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { look as ask, Problem } from "../api";
import { figure, rate } from "../format";
import { connection, type Payload } from "../live";
import { go, place } from "../route";
import { actors, newest, words } from "../state";
import { Card, Empty, Select } from "../ui";
import { Run, Writers, type Detector } from "./detector";
import { Viewer } from "./viewer";

/** The source that was open last. */
let last = "";

interface LastValue {
  topic: string;
  payload: Payload;
}

/** Topics that carry a picture: those that the bus has seen, and the previews of detectors. */
function usePictureTopics(detectors: Signal<Detector[]>) {
  const topics = useSignal<string[] | null>(null);
  async function find(): Promise<void> {
    try {
      const has = actors.value?.some((one) => one.actor_class.includes("actors.detector"));
      const [frames, known] = await Promise.all([
        ask<LastValue[]>("bus.last", { prefix: "frame." }),
        has ? ask<Detector[]>("detectors.list") : [],
      ]);
      detectors.value = known;
      const previews = known.filter((one) => one.preview_address).map((one) => `preview.${one.name}`);
      const names = [...frames.map(({ topic }) => topic).sort(), ...previews];
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
  const detectors = useSignal<Detector[]>([]);
  const topics = usePictureTopics(detectors);
  const shown = useComputed(() => {
    const { view, open } = place.value;
    if (view === "images" && topics.value?.includes(open)) last = open;
    return topics.value?.includes(last) ? last : (topics.value?.[0] ?? "");
  });
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
            <Select label="Source" value={shown.value} options={topics.value} onChange={(value) => go("images", value)} />
          )
        }
      >
        <Viewer key={shown.value} topic={shown.value} />
      </Card>
      <div class="stack">
        {detectors.value
          .filter((one) => !shown.value.startsWith("preview.") || shown.value === `preview.${one.name}`)
          .map((one) => (
            <Run key={one.name} detector={one} />
          ))}
        {detectors.value.length > 0 && <Writers />}
        {!shown.value.startsWith("preview.") && <Numbers topic={shown.value} />}
      </div>
    </div>
  );
}
