// Two fields against each other: where a pupil is, where the eyes look.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { colour } from "../chart";
import { wantSeries } from "../live";
import { Card, Select } from "../ui";

const SOURCES = [
  ["gaze.3d.01.", "gaze, both eyes"],
  ["pupil.0.2d", "pupil of eye 0"],
  ["pupil.1.2d", "pupil of eye 1"],
] as const;
const KEEP = 240;

export function Plane() {
  const source = useSignal<string>(SOURCES[0][0]);
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const xs: number[] = [];
    const ys: number[] = [];
    const keep = (into: number[]) => (_: Float64Array, values: Float64Array) => {
      into.push(...values);
      into.splice(0, into.length - KEEP);
    };
    const done = [
      wantSeries({ id: "plane-x", topic: source.value, field: "norm_pos.0", bucket_s: 0 }, keep(xs)),
      wantSeries({ id: "plane-y", topic: source.value, field: "norm_pos.1", bucket_s: 0 }, keep(ys)),
    ];
    const timer = setInterval(() => {
      if (canvas.current && !document.hidden) draw(canvas.current, xs, ys);
    }, 60);
    return () => {
      clearInterval(timer);
      for (const end of done) end();
    };
  }, [source.value]);
  return (
    <Card
      title="Position"
      class="position"
      actions={<Select label="Of" value={source.value} options={SOURCES} onChange={(value) => (source.value = value)} />}
    >
      <canvas ref={canvas} class="plane" role="img" aria-label={`Position of ${source.value} in the frame`} />
    </Card>
  );
}

function draw(canvas: HTMLCanvasElement, xs: readonly number[], ys: readonly number[]): void {
  const ratio = devicePixelRatio;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  [canvas.width, canvas.height] = [width * ratio, height * ratio];
  const context = canvas.getContext("2d");
  if (!context) return;
  context.scale(ratio, ratio);
  context.strokeStyle = colour("--grid");
  for (let n = 0; n <= 4; n++) {
    const x = Math.round((n / 4) * (width - 1)) + 0.5;
    const y = Math.round((n / 4) * (height - 1)) + 0.5;
    context.beginPath();
    context.moveTo(x, 0);
    context.lineTo(x, height);
    context.moveTo(0, y);
    context.lineTo(width, y);
    context.stroke();
  }
  const count = Math.min(xs.length, ys.length);
  context.fillStyle = colour("--c1");
  for (let n = 0; n < count; n++) {
    context.globalAlpha = 0.08 + (0.5 * n) / KEEP;
    const newest = n === count - 1;
    if (newest) context.globalAlpha = 1;
    context.beginPath();
    // norm_pos begins at the lower left
    context.arc((xs[n] ?? 0) * width, (1 - (ys[n] ?? 0)) * height, newest ? 6 : 2.5, 0, 7);
    context.fill();
  }
  if (!count) {
    context.globalAlpha = 1;
    context.fillStyle = colour("--muted");
    context.textAlign = "center";
    context.font = "14px system-ui, sans-serif";
    context.fillText("nothing has come from there yet", width / 2, height / 2 - 8);
  }
}
