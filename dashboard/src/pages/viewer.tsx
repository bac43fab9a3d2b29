// One live picture: contrast, zoom, pan, value under the cursor, region, overlays, pause and step.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { count, figure } from "../format";
import { want, wantPicture, type Payload, type Picture } from "../live";
import { AS_IT_IS, decode, paint, type ColourMap, type Look, type Values } from "../picture";
import { newest } from "../state";
import { Button, Check, Select } from "../ui";

interface View {
  scale: number;
  x: number;
  y: number;
}
interface Region {
  x: number;
  y: number;
  width: number;
  height: number;
}
const GAZE = "gaze.3d.";
/** Counts of photons: a few bright pixels among many dark ones. */
const OF_DETECTORS: Look = { contrast: "percentile", low: 1, high: 99.5, log: true, map: "inverse" };

export function Viewer({ topic }: { topic: string }) {
  const screen = useRef<HTMLCanvasElement>(null);
  const frame = useRef<HTMLDivElement>(null);
  const stage = useRef<Stage | null>(null);
  const look = useSignal<Look>(topic.startsWith("preview.") ? OF_DETECTORS : AS_IT_IS);
  const paused = useSignal(false);
  const selecting = useSignal(false);
  const gaze = useSignal(true);
  const spots = useSignal(true);
  const hasSpots = useSignal(false);
  const text = useSignal("");
  const regionText = useSignal("");
  const info = useSignal("");
  const failure = useSignal("");

  useEffect(() => {
    const canvas = screen.current;
    if (!canvas || !frame.current) return undefined;
    const made = new Stage(canvas, { look, paused, selecting, gaze, spots, hasSpots, text, regionText, info, failure });
    stage.current = made;
    const size = new ResizeObserver(() => made.draw());
    size.observe(frame.current);
    const done = [wantPicture(topic, (picture, shown) => void made.take(picture, shown)), want({ newest: [GAZE] })];
    return () => {
      size.disconnect();
      for (const end of done) end();
      made.close();
    };
  }, [topic]);

  function setLook(change: Partial<Look>): void {
    const next = { ...look.value, ...change };
    if (change.contrast === "percentile") [next.low, next.high] = [1, 99];
    if (change.contrast === "manual") [next.low, next.high] = [0, 255];
    look.value = next;
    stage.current?.repaint();
  }
  const bounded = look.value.contrast === "manual" || look.value.contrast === "percentile";
  return (
    <>
      <div class="row tools" role="toolbar" aria-label="Picture">
        <div class="joined">
          <Button
            pressed={paused.value}
            onClick={() => {
              paused.value = !paused.value;
              if (!paused.value) stage.current?.step(); // who sends waits to hear that it was shown
            }}
          >
            {paused.value ? "Go on" : "Pause"}
          </Button>
          <Button disabled={!paused.value} onClick={() => stage.current?.step()}>
            Step
          </Button>
        </div>
        <div class="joined">
          <Button onClick={() => stage.current?.fit()}>Fit</Button>
          <Button onClick={() => stage.current?.oneToOne()}>1:1</Button>
          <Button label="Zoom in" onClick={() => stage.current?.zoom(1.5)}>
            +
          </Button>
          <Button label="Zoom out" onClick={() => stage.current?.zoom(1 / 1.5)}>
            −
          </Button>
        </div>
        <Button pressed={selecting.value} onClick={() => (selecting.value = !selecting.value)}>
          Region
        </Button>
        <div class="row">
          <Select
            label="Contrast"
            value={look.value.contrast}
            options={["off", "auto", "percentile", "manual"]}
            onChange={(contrast) => setLook({ contrast })}
          />
          {bounded &&
            (["low", "high"] as const).map((key) => (
              <label key={key} class="field inline">
                <span>{key}</span>
                <input type="number" value={look.value[key]} onInput={(event) => setLook({ [key]: Number(event.currentTarget.value) })} />
              </label>
            ))}
          <Select
            label="Colours"
            value={look.value.map}
            options={["gray", "inverse", "heat", "viridis"]}
            onChange={(map: ColourMap) => setLook({ map })}
          />
          <Check label="log" checked={look.value.log} onChange={(log) => setLook({ log })} />
          {topic.startsWith("frame.") && <Check label="gaze" checked={gaze.value} onChange={(on) => (gaze.value = on)} />}
          {hasSpots.value && <Check label="spots" checked={spots.value} onChange={(on) => (spots.value = on)} />}
        </div>
      </div>
      <div class="picture" ref={frame}>
        <canvas ref={screen} tabIndex={0} role="img" aria-label={`Live picture ${topic}. Arrow keys pan, plus and minus zoom; while Region is pressed, arrow keys move the region, with shift they size it.`} data-frames="0" />
        {!info.value && !failure.value && <p class="none">No picture yet{topic.startsWith("preview.") && ": it comes with a run"}</p>}
        {failure.value && <p class="error over">{failure.value}</p>}
      </div>
      <p class="row readout number">
        <span>{info.value}</span>
        <span>{text.value}</span>
        <span>{regionText.value}</span>
      </p>
    </>
  );
}

type Cell<T> = { value: T; peek(): T };
interface Controls {
  look: Cell<Look>;
  paused: Cell<boolean>;
  selecting: Cell<boolean>;
  gaze: Cell<boolean>;
  spots: Cell<boolean>;
  hasSpots: Cell<boolean>;
  text: Cell<string>;
  regionText: Cell<string>;
  info: Cell<string>;
  failure: Cell<string>;
}

/** Holds the picture and draws it; outside of the framework, because it is redrawn thirty times a second. */
class Stage {
  private readonly own = document.createElement("canvas");
  private values: Values | null = null;
  private last: Picture | null = null;
  private next: { picture: Picture; shown: () => void } | null = null;
  private view: View | null = null;
  private region: Region | null = null;
  private drag: { x: number; y: number; view: View; from: [number, number] } | null = null;
  private count = 0;
  private closed = false;
  private busy = false;
  private readonly off = new AbortController();

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly controls: Controls,
  ) {
    const options = { signal: this.off.signal };
    canvas.addEventListener("wheel", (event) => this.wheel(event), { ...options, passive: false });
    canvas.addEventListener("pointerdown", (event) => this.down(event), options);
    canvas.addEventListener("pointermove", (event) => this.move(event), options);
    canvas.addEventListener("pointerup", () => (this.drag = null), options);
    canvas.addEventListener("pointerleave", () => (controls.text.value = ""), options);
    canvas.addEventListener("keydown", (event) => this.key(event), options);
  }

  close(): void {
    this.closed = true;
    this.off.abort();
    this.next?.shown();
  }

  async take(picture: Picture, shown: () => void): Promise<void> {
    if (this.controls.paused.peek()) {
      this.next?.shown();
      this.next = { picture, shown };
      return;
    }
    await this.show(picture);
    shown();
  }

  /** Show the next picture that came while paused. */
  step(): void {
    const next = this.next;
    this.next = null;
    if (next) void this.show(next.picture).then(next.shown);
  }

  private async show(picture: Picture): Promise<void> {
    this.last = picture;
    if (this.busy) return; // the one after it is newer anyway
    this.busy = true;
    try {
      const drawable = await decode(picture);
      if (this.closed) return;
      this.values = paint(this.own, drawable, this.controls.look.peek());
      this.canvas.dataset.frames = String(++this.count);
      this.controls.failure.value = "";
      this.controls.hasSpots.value ||= Array.isArray(picture.payload.spots);
      this.controls.info.value = `${this.own.width} × ${this.own.height}, image ${figure(picture.payload.index ?? picture.payload.image_id)}${picture.dropped ? `, ${picture.dropped} not shown` : ""}`;
      this.draw();
    } catch (error) {
      this.controls.failure.value = `This picture cannot be shown: ${error instanceof Error ? error.message : String(error)}`;
    } finally {
      this.busy = false;
    }
  }

  repaint(): void {
    if (this.last) void this.show(this.last);
  }

  private fitted(): View {
    const { clientWidth, clientHeight } = this.canvas;
    const scale = Math.min(clientWidth / (this.own.width || 1), clientHeight / (this.own.height || 1)) || 1;
    return { scale, x: (clientWidth - this.own.width * scale) / 2, y: (clientHeight - this.own.height * scale) / 2 };
  }

  fit(): void {
    this.view = null;
    this.draw();
  }

  oneToOne(): void {
    const { clientWidth, clientHeight } = this.canvas;
    const scale = 1 / devicePixelRatio;
    this.view = { scale, x: (clientWidth - this.own.width * scale) / 2, y: (clientHeight - this.own.height * scale) / 2 };
    this.draw();
  }

  zoom(by: number, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2): void {
    const view = this.view ?? this.fitted();
    const scale = Math.max(0.02, Math.min(64, view.scale * by));
    const factor = scale / view.scale;
    this.view = { scale, x: x - (x - view.x) * factor, y: y - (y - view.y) * factor };
    this.draw();
  }

  draw(): void {
    const { canvas } = this;
    const ratio = devicePixelRatio;
    const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const context = canvas.getContext("2d");
    if (!context || !this.own.width) return;
    const view = this.view ?? this.fitted();
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
    context.imageSmoothingEnabled = view.scale < 2;
    context.drawImage(this.own, view.x, view.y, this.own.width * view.scale, this.own.height * view.scale);
    if (this.controls.gaze.peek()) this.drawGaze(context, view);
    if (this.controls.spots.peek()) this.drawSpots(context, view);
    this.drawRegion(context, view);
  }

  private drawGaze(context: CanvasRenderingContext2D, view: View): void {
    const all = [...newest.peek().values()].filter((one) => one.topic.startsWith(GAZE));
    const gaze = all.sort((a, b) => Number(a.payload.timestamp) - Number(b.payload.timestamp)).at(-1);
    const position = gaze?.payload.norm_pos;
    if (!gaze || !Array.isArray(position) || !this.last?.topic.startsWith("frame.")) return;
    if (Number(this.last.payload.timestamp) - Number(gaze.payload.timestamp) > 1) return;
    const x = view.x + Number(position[0]) * this.own.width * view.scale;
    const y = view.y + (1 - Number(position[1])) * this.own.height * view.scale; // norm_pos begins at the bottom
    for (const [colour, width] of [["#000a", 5], ["#ffd33d", 2.5]] as const) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.beginPath();
      context.arc(x, y, 14, 0, 7);
      context.moveTo(x - 4, y);
      context.lineTo(x + 4, y);
      context.moveTo(x, y - 4);
      context.lineTo(x, y + 4);
      context.stroke();
    }
  }

  private drawSpots(context: CanvasRenderingContext2D, view: View): void {
    const spots: unknown = (this.last?.payload as Payload | undefined)?.spots;
    if (!Array.isArray(spots)) return;
    context.strokeStyle = "#ff5d5d";
    context.lineWidth = 1.5;
    for (const spot of spots.slice(0, 2000) as unknown[]) {
      if (!Array.isArray(spot)) continue;
      context.beginPath();
      context.arc(view.x + (Number(spot[0]) + 0.5) * view.scale, view.y + (Number(spot[1]) + 0.5) * view.scale, Math.max(4, 4 * view.scale), 0, 7);
      context.stroke();
    }
  }

  private drawRegion(context: CanvasRenderingContext2D, view: View): void {
    const { region } = this;
    if (!region) return;
    context.strokeStyle = "#4fd1ff";
    context.lineWidth = 1.5;
    context.strokeRect(view.x + region.x * view.scale, view.y + region.y * view.scale, region.width * view.scale, region.height * view.scale);
    this.controls.regionText.value = this.sumOf(region);
  }

  private sumOf(region: Region): string {
    let sum = 0;
    const pixels = region.width * region.height;
    for (let y = region.y; y < region.y + region.height; y++)
      for (let x = region.x; x < region.x + region.width; x++) sum += this.grayAt(x, y) ?? 0;
    return pixels ? `region ${region.width} × ${region.height}: sum ${count(sum)}, mean ${figure(sum / pixels)}` : "";
  }

  private pixels: { of: number; data: ImageData } | null = null;

  private at(x: number, y: number): number[] | null {
    if (x < 0 || y < 0 || x >= this.own.width || y >= this.own.height) return null;
    if (!this.values) {
      if (this.pixels?.of !== this.count) {
        const context = this.own.getContext("2d", { willReadFrequently: true });
        if (!context) return null;
        this.pixels = { of: this.count, data: context.getImageData(0, 0, this.own.width, this.own.height) };
      }
      const from = 4 * (y * this.own.width + x);
      return [...this.pixels.data.data.subarray(from, from + 3)];
    }
    const { channels, data, width } = this.values;
    const from = channels * (y * width + x);
    return [...data.subarray(from, from + Math.min(channels, 3))];
  }

  private grayAt(x: number, y: number): number | null {
    const value = this.at(x, y);
    return value && value.reduce((sum, one) => sum + one, 0) / value.length;
  }

  private placeOf(event: MouseEvent): [number, number] {
    const view = this.view ?? this.fitted();
    return [Math.floor((event.offsetX - view.x) / view.scale), Math.floor((event.offsetY - view.y) / view.scale)];
  }

  private wheel(event: WheelEvent): void {
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
  }

  private down(event: PointerEvent): void {
    this.canvas.setPointerCapture(event.pointerId);
    this.drag = { x: event.offsetX, y: event.offsetY, view: this.view ?? this.fitted(), from: this.placeOf(event) };
    if (this.controls.selecting.peek()) this.region = null;
  }

  private move(event: PointerEvent): void {
    const [x, y] = this.placeOf(event);
    const value = this.at(x, y);
    this.controls.text.value = value ? `x ${x}, y ${y}: ${value.map(figure).join(" ")}` : "";
    if (!this.drag) return;
    if (this.controls.selecting.peek()) {
      const clip = (place: number, size: number) => Math.max(0, Math.min(size, place));
      const [fromX, fromY] = this.drag.from;
      const left = clip(Math.min(x, fromX), this.own.width);
      const top = clip(Math.min(y, fromY), this.own.height);
      this.region = {
        x: left,
        y: top,
        width: clip(Math.max(x, fromX) + 1, this.own.width) - left,
        height: clip(Math.max(y, fromY) + 1, this.own.height) - top,
      };
    } else {
      const { view } = this.drag;
      this.view = { ...view, x: view.x + event.offsetX - this.drag.x, y: view.y + event.offsetY - this.drag.y };
    }
    this.draw();
  }

  /** Move the region by a step, or size it. The first key puts one into the middle. */
  private moveRegion([x, y]: [number, number], sizes: boolean): void {
    const { width, height } = this.own;
    const old = this.region;
    if (!old) {
      const side = Math.max(1, Math.round(Math.min(width, height) / 4));
      this.region = { x: Math.round((width - side) / 2), y: Math.round((height - side) / 2), width: side, height: side };
      return;
    }
    const within = (value: number, low: number, high: number) => Math.max(low, Math.min(high, value));
    this.region = sizes
      ? { ...old, width: within(old.width + x, 1, width - old.x), height: within(old.height + y, 1, height - old.y) }
      : { ...old, x: within(old.x + x, 0, width - old.width), y: within(old.y + y, 0, height - old.height) };
  }

  private key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.altKey || event.metaKey) return; // the browser's own zoom
    const steps: Record<string, [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const by = steps[event.key];
    if (by) {
      const view = this.view ?? this.fitted();
      if (this.controls.selecting.peek() && this.own.width) this.moveRegion(by, event.shiftKey);
      else this.view = { ...view, x: view.x - 40 * by[0], y: view.y - 40 * by[1] };
      this.draw();
    } else if (event.key === "+" || event.key === "=") this.zoom(1.5);
    else if (event.key === "-") this.zoom(1 / 1.5);
    else if (event.key === "0") this.fit();
    else return;
    event.preventDefault();
  }
}
