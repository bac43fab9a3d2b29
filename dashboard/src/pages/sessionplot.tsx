// Fields of a session over its whole length; the cursor is the session's.
import { useSignal, useSignalEffect, type Signal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import uPlot from "uplot";
import { get, Problem } from "../api";
import { axis, Chart, colour } from "../chart";
import { figure } from "../format";
import { Button, Card, Empty, Field, Select, toast } from "../ui";

interface Trace {
  times_s: number[];
  values: (number | null)[];
}

export function SessionPlot({ name, topics, cursor }: { name: string; topics: string[]; cursor: Signal<number> }) {
  const topic = useSignal(topics.find((one) => one.startsWith("pupil.")) ?? topics[0] ?? "");
  const field = useSignal(topic.value.startsWith("pupil.") ? "diameter" : "");
  const trace = useSignal<Trace | null>(null);
  const plot = useRef<uPlot | null>(null);
  const line = useRef(cursor);
  line.current = cursor;
  async function load(): Promise<void> {
    if (!topic.value || !field.value) return;
    try {
      trace.value = await get<Trace>("session/series", { session: name, topic: topic.value, field: field.value });
      if (!trace.value.times_s.length) toast(`${topic.value} has no number called ${field.value}`, "bad");
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      toast(error.message, "bad");
    }
  }
  useEffect(() => void load(), [name]);
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
        <Select label="Topic" value={topic.value} options={topics} onChange={(value) => (topic.value = value)} />
        <Field inline label="Field" value={field} placeholder="norm_pos.0" />
        <Button onClick={load}>Draw</Button>
      </div>
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
      ) : (
        <Empty title="Nothing drawn">Choose a topic and name one of its fields.</Empty>
      )}
    </Card>
  );
}
