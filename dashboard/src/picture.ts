// A picture on a canvas: decoded, given contrast and colour, zoomed and panned; the numbers behind it stay at hand.
import type { Picture, Payload } from "./live";

export interface Look {
  contrast: "off" | "auto" | "percentile" | "manual";
  low: number;
  high: number;
  log: boolean;
  map: ColourMap;
}
export const AS_IT_IS: Look = { contrast: "off", low: 0, high: 255, log: false, map: "gray" };
export type ColourMap = "gray" | "inverse" | "heat" | "viridis";

/** Pixels as numbers: one channel or three (blue, green, red). */
export interface Values {
  width: number;
  height: number;
  channels: 1 | 3 | 4;
  data: Uint8ClampedArray | Uint8Array | Uint16Array | Uint32Array | Int32Array | Float32Array;
}

type Drawable = ImageBitmap | Values;

const VIRIDIS = [
  [68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142], [31, 158, 137], [53, 183, 121], [109, 205, 89], [180, 222, 44], [253, 231, 37],
];
const HEAT = [
  [0, 0, 0], [60, 10, 60], [130, 20, 70], [200, 45, 40], [240, 110, 20], [252, 190, 50], [255, 255, 220],
];

/** 256 colours as RGBA in one number each, little-endian. */
export function colours(map: ColourMap): Uint32Array {
  const table = new Uint32Array(256);
  for (let n = 0; n < 256; n++) {
    const [r, g, b] = map === "gray" ? [n, n, n] : map === "inverse" ? [255 - n, 255 - n, 255 - n] : between(map === "heat" ? HEAT : VIRIDIS, n / 255);
    table[n] = (255 << 24) | (b << 16) | (g << 8) | r;
  }
  return table;
}

function between(stops: number[][], at: number): [number, number, number] {
  const place = at * (stops.length - 1);
  const first = stops[Math.floor(place)] ?? [0, 0, 0];
  const second = stops[Math.ceil(place)] ?? first;
  const part = place - Math.floor(place);
  const mix = (n: number) => Math.round((first[n] ?? 0) * (1 - part) + (second[n] ?? 0) * part);
  return [mix(0), mix(1), mix(2)];
}

export async function decode(picture: Picture): Promise<Drawable> {
  const { payload, body } = picture;
  const format = String(payload.format ?? "");
  if (payload.dtype === undefined && (format === "jpeg" || format === "png" || isEncoded(body))) return createImageBitmap(new Blob([body]));
  const [width, height] = sizeOf(payload);
  const kind = String(payload.dtype ?? "").replace(/[<|=]/, "") || { gray: "u1", bgr: "u1", gray16: "u2" }[format] || "u1";
  const channels = format === "bgr" ? 3 : 1;
  const data = numbers(kind, body);
  if (data.length !== width * height * channels) throw new Error(`${data.length} numbers are no picture of ${width} × ${height}`);
  return { width, height, channels, data };
}

function isEncoded(body: Uint8Array): boolean {
  return (body[0] === 0xff && body[1] === 0xd8) || (body[0] === 0x89 && body[1] === 0x50);
}

function sizeOf(payload: Payload): [number, number] {
  const shape = payload.shape;
  if (Array.isArray(shape) && shape.length >= 2) return [Number(shape.at(-1)), Number(shape.at(-2))];
  return [Number(payload.width), Number(payload.height)];
}

export function numbers(kind: string, body: Uint8Array<ArrayBuffer>): Values["data"] {
  const make = { u1: Uint8Array, i1: Uint8Array, u2: Uint16Array, i2: Uint16Array, u4: Uint32Array, i4: Int32Array, f4: Float32Array }[kind];
  if (!make) throw new Error(`pixels of type ${kind} cannot be shown`);
  const whole = body.byteLength - (body.byteLength % make.BYTES_PER_ELEMENT);
  const aligned = body.byteOffset % make.BYTES_PER_ELEMENT === 0 ? body : body.slice();
  return new make(aligned.buffer, aligned.byteOffset, whole / make.BYTES_PER_ELEMENT);
}

/** Draw a picture in its own size. Returns the values behind it, if they had to be looked at. */
export function paint(canvas: OffscreenCanvas | HTMLCanvasElement, drawable: Drawable, look: Look): Values | null {
  canvas.width = drawable.width;
  canvas.height = drawable.height;
  const context = canvas.getContext("2d", { willReadFrequently: true }) as CanvasRenderingContext2D | null;
  if (!context) return null;
  const plain = look.contrast === "off" && !look.log && look.map === "gray";
  if (!("data" in drawable)) {
    context.drawImage(drawable, 0, 0);
    drawable.close();
    if (plain) return null;
    const image = context.getImageData(0, 0, canvas.width, canvas.height);
    const values: Values = { width: canvas.width, height: canvas.height, channels: 4, data: image.data };
    context.putImageData(mapped(grayOf(values), look), 0, 0);
    return values;
  }
  if (drawable.channels === 3 && plain) context.putImageData(fromBgr(drawable), 0, 0);
  else context.putImageData(mapped(grayOf(drawable), look), 0, 0);
  return drawable;
}

function fromBgr({ width, height, data }: Values): ImageData {
  const image = new ImageData(width, height);
  for (let from = 0, to = 0; from < data.length; from += 3, to += 4) {
    image.data[to] = data[from + 2] ?? 0;
    image.data[to + 1] = data[from + 1] ?? 0;
    image.data[to + 2] = data[from] ?? 0;
    image.data[to + 3] = 255;
  }
  return image;
}

function grayOf(values: Values): Values {
  if (values.channels === 1) return values;
  const { width, height, channels, data } = values;
  const gray = new Uint8Array(width * height);
  const [red, blue] = channels === 4 ? [0, 2] : [2, 0];
  for (let to = 0, from = 0; to < gray.length; to++, from += channels)
    gray[to] = (77 * (data[from + red] ?? 0) + 150 * (data[from + 1] ?? 0) + 29 * (data[from + blue] ?? 0)) >> 8;
  return { width, height, channels: 1, data: gray };
}

function mapped({ width, height, data }: Values, look: Look): ImageData {
  const image = new ImageData(width, height);
  const out = new Uint32Array(image.data.buffer);
  const table = colours(look.map);
  const [low, high] = rangeOf(data, look);
  const bend = look.log ? (value: number) => Math.log1p(Math.max(0, value - low)) : (value: number) => value - low;
  const scale = 255 / (bend(high) || 1);
  const dead = data instanceof Uint32Array ? 0xffffffff : data instanceof Uint16Array ? 0xffff : -1;
  for (let n = 0; n < data.length; n++) {
    const value = data[n] ?? 0;
    // What the detector masks is no count: it is shown as nothing.
    out[n] = value === dead ? 0xff40382a : (table[Math.max(0, Math.min(255, Math.round(bend(value) * scale)))] ?? 0);
  }
  return image;
}

function rangeOf(data: Values["data"], look: Look): [number, number] {
  if (look.contrast === "manual") return [look.low, Math.max(look.high, look.low + 1e-9)];
  const bytes = data instanceof Uint8Array || data instanceof Uint8ClampedArray;
  if (look.contrast === "off" && bytes) return [0, 255];
  const step = Math.max(1, Math.floor(data.length / 20_000));
  const sample: number[] = [];
  const limit = data instanceof Uint32Array ? 0xfffffffe : data instanceof Uint16Array ? 0xfffe : Infinity;
  for (let n = 0; n < data.length; n += step) if ((data[n] ?? 0) <= limit) sample.push(data[n] ?? 0);
  sample.sort((a, b) => a - b);
  const at = (part: number) => sample[Math.min(sample.length - 1, Math.floor(part * sample.length))] ?? 0;
  const [low, high] = look.contrast === "percentile" ? [at(look.low / 100), at(look.high / 100)] : [at(0), at(1)];
  return [low, high > low ? high : low + 1];
}
