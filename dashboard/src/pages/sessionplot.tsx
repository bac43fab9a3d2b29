// Fields of a session over its whole length; the cursor is the session's.
import { useSignal, useSignalEffect, type Signal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import uPlot from "uplot";
import { get, Problem } from "../api";
import { axis, Chart, colour } from "../chart";
import { figure } from "../format";
import { Card, Empty, Select } from "../ui";

interface Trace {
  times_s: number[];
  values: (number | null)[];
}

/** What is drawn of a topic before somebody has chosen: pupils have a diameter, and few want to see a counter. */
const FIRST = ["diameter", "confidence", "norm_pos.0"];
const LAST = new Set(["timestamp", "seq", "index", "id"]);

function firstOf(fields: readonly string[], before: string): string {
  return [before, ...FIRST].find((one) => fields.includes(one)) ?? fields.find((one) => !LAST.has(one)) ?? fields[0] ?? "";
}

export function SessionPlot({ name, topics, cursor }: { name: string; topics: string[]; cursor: Signal<number> }) {
  const topic = useSignal(topics.find((one) => one.startsWith("pupil.")) ?? topics[0] ?? "");
  const fields = useSignal<string[] | null>(null);
  const field = useSignal("");
  const trace = useSignal<Trace | null>(null);
  const failure = useSignal("");
  const plot = useRef<uPlot | null>(null);
  const line = useRef(cursor);
  line.current = cursor;
  /** Ask; an answer that comes when something else has been chosen counts no more. */
  async function ask<T>(what: string, query: Record<string, string>): Promise<T | null> {
    const still = () => query.topic === topic.peek() && (query.field ?? field.peek()) === field.peek();
    try {
      const found = await get<T>(`session/${what}`, { session: name, ...query });
      return still() ? found : null;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (still()) [failure.value, trace.value] = [error.message, null];
      return null;
    }
  }
  async function draw(chosen: string): Promise<void> {
    [field.value, failure.value] = [chosen, ""];
    if (chosen) trace.value = (await ask<Trace>("series", { topic: topic.value, field: chosen })) ?? trace.peek();
  }
  async function chooseTopic(chosen: string): Promise<void> {
    [topic.value, fields.value, trace.value, failure.value] = [chosen, null, null, ""];
    const found = chosen ? await ask<{ fields: string[] }>("fields", { topic: chosen }) : null;
    if (!found) return;
    fields.value = found.fields;
    await draw(firstOf(found.fields, field.peek()));
  }
  useEffect(() => void chooseTopic(topic.peek()), [name]);
  useSignalEffect(() => {
    void cursor.value;
    plot.current?.redraw(false, false);
  });
  const options = useMemo<Omit<uPlot.Options, "width" | "height">>(
    () => ({
      scales: { x: { time: false } },
      series: [
        { label: "time", value: (_, value: number | null | undefined) => (typeof value !== "number" ? "" : `${value.toFixed(3)} s`) },
        {
          label: `${topic.value} ${field.value}`,
          stroke: () => colour("--c1"),
          width: 1.5,
          points: { show: false },
          value: (_, value: number | null) => (value === null ? "–" : figure(value)),
        },
      ],
      axes: [axis({ values: (_, values) => values.map((value) => `${value} s`) }), axis({ size: 64 })],
      hooks: {
        draw: [
          (made) => {
            const at = made.valToPos(line.current.peek(), "x", true);
            made.ctx.fillStyle = colour("--bad");
            if (at >= made.bbox.left && at <= made.bbox.left + made.bbox.width)
              made.ctx.fillRect(at, made.bbox.top, 1.5 * devicePixelRatio, made.bbox.height);
          },
        ],
      },
    }),
    [trace.value],
  );
  const data = trace.value;
  return (
    <Card title="Plot">
      <div class="row">
        <Select label="Topic" value={topic.value} options={topics} onChange={(value) => void chooseTopic(value)} />
        {fields.value && fields.value.length > 0 && <Select label="Field" value={field.value} options={fields.value} onChange={(value) => void draw(value)} />}
      </div>
      {failure.value && <p class="error">{failure.value}</p>}
      {data?.times_s.length ? (
        <Chart
          options={options}
          data={[data.times_s, data.values] as uPlot.AlignedData}
          height={260}
          label={`Plot of ${topic.value} ${field.value}`}
          onPick={(x) => (cursor.value = x)}
          onReady={(api) => {
            plot.current = api.plot;
            return () => {
              plot.current = null;
            };
          }}
        />
      ) : fields.value?.length === 0 ? (
        <Empty title="Nothing to draw">This topic has no numbers.</Empty>
      ) : (
        !failure.value && <Empty title={trace.value ? "This field has no numbers" : "Looking through the session…"} />
      )}
    </Card>
  );
}
