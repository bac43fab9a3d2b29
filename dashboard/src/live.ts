// The live WebSocket: one connection, frames of bytes, a wish that says what is shown now. Reconnects by itself.
import { signal } from "@preact/signals";
import { needsToken } from "./api";

export type Payload = Record<string, unknown>;
export interface Message {
  topic: string;
  payload: Payload;
  /** Rig time of arrival, s. */
  time: number;
  /** Bytes of raw parts, which do not travel. */
  rawBytes: number;
  /** Running number, for keys of lists. */
  number: number;
}
export interface Picture {
  topic: string;
  payload: Payload;
  dropped: number;
  body: Uint8Array<ArrayBuffer>;
}
export interface SeriesWish {
  id: string;
  topic: string;
  field: string;
  bucket_s: number;
}
export interface Wish {
  newest?: string[];
  all?: string[];
  pictures?: string[];
  series?: SeriesWish[];
}
export interface Hello {
  rig: string;
  version: string;
  read_only: boolean;
  url: string;
  remote: string;
}
export interface Status {
  rig_time_s: number;
  rig: boolean;
  dropped: Record<string, number>;
  server_dropped: number;
  malformed: number;
  browsers: number;
}

const HELLO = 1;
const MESSAGES = 2;
const PICTURE = 3;
const SERIES = 4;
const STATUS = 5;
const RETRY_MS = [250, 500, 1000, 2000];
/** Without a frame for so long the connection counts as lost: the server sends a status each second. */
const SILENT_MS = 5000;

export const connection = signal<"connecting" | "live" | "lost">("connecting");
export const hello = signal<Hello | null>(null);
export const status = signal<Status | null>(null);

type Row = [string, Payload, number, number];
type MessageListener = (message: Message) => void;
type SeriesListener = (times: Float64Array, values: Float64Array) => void;
/** Called with a picture; it calls `shown` when it has drawn it. */
type PictureListener = (picture: Picture, shown: () => void) => void;

const messageListeners = new Set<MessageListener>();
const pictureListeners = new Map<string, PictureListener>();
const seriesListeners = new Map<string, SeriesListener>();
const wishes = new Map<symbol, Wish>();

let socket: WebSocket | null = null;
let retries = 0;
let lastFrame = 0;
let sendPlanned = false;
let number = 0;

export function onMessage(listener: MessageListener): () => void {
  messageListeners.add(listener);
  return () => messageListeners.delete(listener);
}

/** Want something until the returned function is called. */
export function want(wish: Wish): () => void {
  const key = Symbol();
  wishes.set(key, wish);
  planWish();
  return () => {
    wishes.delete(key);
    planWish();
  };
}

export function wantPicture(topic: string, listener: PictureListener): () => void {
  pictureListeners.set(topic, listener);
  const done = want({ pictures: [topic] });
  return () => {
    pictureListeners.delete(topic);
    done();
  };
}

export function wantSeries(wish: SeriesWish, listener: SeriesListener): () => void {
  seriesListeners.set(wish.id, listener);
  const done = want({ series: [wish] });
  return () => {
    seriesListeners.delete(wish.id);
    done();
  };
}

function planWish(): void {
  if (sendPlanned) return;
  sendPlanned = true;
  queueMicrotask(() => {
    sendPlanned = false;
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ wish: wholeWish() }));
  });
}

function wholeWish(): Wish {
  const all = [...wishes.values()];
  return {
    newest: [...new Set(all.flatMap((wish) => wish.newest ?? []))],
    all: [...new Set(all.flatMap((wish) => wish.all ?? []))],
    pictures: [...new Set(all.flatMap((wish) => wish.pictures ?? []))],
    series: all.flatMap((wish) => wish.series ?? []),
  };
}

export function connect(): void {
  const address = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`;
  const mine = new WebSocket(address);
  socket = mine;
  mine.binaryType = "arraybuffer";
  mine.onopen = () => {
    retries = 0;
    lastFrame = performance.now();
    planWish();
  };
  mine.onmessage = (event: MessageEvent<ArrayBuffer>) => {
    lastFrame = performance.now();
    take(event.data);
  };
  mine.onclose = () => {
    if (socket !== mine) return;
    socket = null;
    connection.value = "lost";
    const wait = RETRY_MS[Math.min(retries++, RETRY_MS.length - 1)] ?? 2000;
    setTimeout(() => {
      if (!needsToken.value) connect();
    }, wait);
  };
}

setInterval(() => {
  if (socket?.readyState === WebSocket.OPEN && performance.now() - lastFrame > SILENT_MS) {
    const silent = socket;
    connection.value = "lost";
    silent.close();
    silent.onclose?.(new CloseEvent("close")); // a dead peer does not answer the close either
  }
}, 1000);

function take(data: ArrayBuffer): void {
  const view = new DataView(data);
  const tag = view.getUint8(0);
  const length = view.getUint32(4, true);
  const header: unknown = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 8, length)));
  const start = 8 + Math.ceil(length / 8) * 8;
  if (tag === HELLO) {
    hello.value = header as Hello;
    connection.value = "live";
  } else if (tag === STATUS) {
    status.value = header as Status;
    connection.value = "live";
  } else if (tag === MESSAGES) {
    const { newest, all } = header as { newest: Row[]; all: Row[] };
    for (const [topic, payload, time, rawBytes] of [...newest, ...all]) {
      const message = { topic, payload, time, rawBytes, number: number++ };
      for (const listener of messageListeners) listener(message);
    }
  } else if (tag === PICTURE) {
    const { topic, payload, dropped } = header as { topic: string; payload: Payload; dropped: number };
    const listener = pictureListeners.get(topic);
    if (listener) listener({ topic, payload, dropped, body: new Uint8Array(data, start) }, () => shown(topic));
    else shown(topic);
  } else if (tag === SERIES) {
    let at = start;
    for (const [id, count] of (header as { series: [string, number, number][] }).series) {
      const times = new Float64Array(data, at, count);
      const values = new Float64Array(data, at + 8 * count, count);
      at += 16 * count;
      seriesListeners.get(id)?.(times, values);
    }
  }
}

function shown(topic: string): void {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ shown: topic }));
}
