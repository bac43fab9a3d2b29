// Two fields against each other: where a pupil is, where the eyes look.
import { useComputed, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { colour } from "../chart";
import { wantPicture, wantSeries } from "../live";
import { AS_IT_IS, decode, paint } from "../picture";
import { newest } from "../state";
import { Card, Select } from "../ui";

const SOURCES = [
  ["gaze.3d.01.", "gaze, both eyes"],
  ["pupil.0.2d", "pupil of eye 0"],
  ["pupil.1.2d", "pupil of eye 1"],
] as const;
const KEEP = 240;
const NONE = "none";

/** The camera that a position is told in: the scene's for gaze, an eye's own for its pupil. */
function cameraOf(source: string, cameras: string[]): string {
  const eye = /^pupil\.(\d)/.exec(source)?.[1];
  if (eye !== undefined) return cameras.find((topic) => topic === `frame.eye.${eye}`) ?? NONE;
  return cameras.find((topic) => topic === "frame.world") ?? cameras.find((topic) => !topic.startsWith("frame.eye.")) ?? NONE;
}

export function Plane() {
  const source = useSignal<string>(SOURCES[0][0]);
  const asked = useSignal("");
  const canvas = useRef<HTMLCanvasElement>(null);
  const behind = useRef<HTMLCanvasElement>(document.createElement("canvas"));
  const cameras = useComputed(() => {
    const topics = (newest.value.get("bus.stats")?.payload.topics ?? []) as { topic: string }[];
    return topics.map(({ topic }) => topic).filter((topic) => topic.startsWith("frame.")).sort().join("\n");
  });
  const names = cameras.value ? cameras.value.split("\n") : [];
  const camera = names.includes(asked.value) || asked.value === NONE ? asked.value : cameraOf(source.value, names);
  useEffect(() => {
    behind.current.width = 0;
    if (camera === NONE) return undefined;
    let gone = false;
    const done = wantPicture(camera, (picture, shown) => {
      void decode(picture)
        .then((drawable) => {
          if (!gone) paint(behind.current, drawable, AS_IT_IS);
          else if ("close" in drawable) drawable.close();
        })
        .catch(() => undefined) // what cannot be shown is no background
        .then(shown);
    });
    return () => {
      gone = true;
      done();
    };
  }, [camera]);
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
      if (canvas.current && !document.hidden) draw(canvas.current, behind.current, xs, ys);
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
      actions={
        <>
          <Select label="Of" value={source.value} options={SOURCES} onChange={(value) => (source.value = value)} />
          <Select label="Over" value={camera} options={[[NONE, "nothing"], ...names.map((topic) => [topic, topic] as const)]} onChange={(value) => (asked.value = value)} />
        </>
      }
    >
      <canvas ref={canvas} class="plane" role="img" aria-label={`Position of ${source.value} over ${camera === NONE ? "a grid" : camera}`} />
    </Card>
  );
}

function draw(canvas: HTMLCanvasElement, behind: HTMLCanvasElement, xs: readonly number[], ys: readonly number[]): void {
  const ratio = devicePixelRatio;
  canvas.style.aspectRatio = behind.width ? `${behind.width} / ${behind.height}` : "";
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  [canvas.width, canvas.height] = [width * ratio, height * ratio];
  const context = canvas.getContext("2d");
  if (!context) return;
  context.scale(ratio, ratio);
  if (behind.width) context.drawImage(behind, 0, 0, width, height); // positions are parts of the frame's sides
  context.globalAlpha = behind.width ? 0.25 : 1;
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
  context.fillStyle = behind.width ? "#ffd33d" : colour("--c1");
  for (let n = 0; n < count; n++) {
    context.globalAlpha = 0.08 + (0.5 * n) / KEEP;
    const newest = n === count - 1;
    if (newest) context.globalAlpha = 1;
    context.beginPath();
    // norm_pos begins at the lower left
    context.arc((xs[n] ?? 0) * width, (1 - (ys[n] ?? 0)) * height, newest ? 6 : 2.5, 0, 7);
    context.fill();
    if (newest && behind.width) {
      context.strokeStyle = "#000a";
      context.stroke();
    }
  }
  if (!count) {
    context.globalAlpha = 1;
    context.fillStyle = behind.width ? "#ffffff" : colour("--muted");
    context.textAlign = "center";
    context.font = "14px system-ui, sans-serif";
    context.fillText("nothing has come from there yet", width / 2, height / 2 - 8);
  }
}
