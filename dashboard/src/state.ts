// What the pages share: the newest message of each state topic, actors, instruments, log, notifications.
import { computed, effect, signal } from "@preact/signals";
import { look, needsToken, Problem } from "./api";
import { connection, onMessage, want, type Message, type Payload } from "./live";

export interface Actor {
  name: string;
  actor_class: string;
  state: string;
  pid: number | null;
  restarts: number;
  uptime_s: number;
  services: string[];
  last_error: string;
}
export interface Instrument {
  name: string;
  state: string;
  driver: string;
  queue: string;
  pid: number | null;
  restarts: number;
  waiting: number;
  ok: number;
  failed: number;
  timed_out: number;
  dropped: number;
  acquisitions: number;
  last_error: string;
  heartbeat_age_s: number | null;
}

const FINE = new Set(["running", "remote"]);
const LOG_LINES = 1000;
const NOTIFICATIONS = 300;

/** Newest message of each topic; a new map each time something came. */
export const newest = signal<ReadonlyMap<string, Message>>(new Map());
export const actors = signal<Actor[] | null>(null);
export const log = signal<readonly Message[]>([]);
export const notifications = signal<readonly Message[]>([]);
export const instruments = computed<Instrument[]>(() =>
  [...newest.value.values()]
    .filter((message) => message.topic.startsWith("instrument.") && message.topic.endsWith(".state"))
    .map((message) => message.payload as unknown as Instrument)
    .sort((a, b) => a.name.localeCompare(b.name)),
);
export const recorder = computed<Payload | null>(() => newest.value.get("recorder.state")?.payload ?? null);
/** Why what the recorder said last counts no more: it is stopped, silent, or starts again; empty while it lives. */
export const recorderDown = computed(() => {
  const found = actors.value?.find((one) => one.actor_class.endsWith("actors.recorder:Recorder"))?.state ?? "running";
  return FINE.has(found) ? "" : words(found);
});
export const recording = computed(() => recorder.value?.recording === true && !recorderDown.value);

/** Whether the disk lasts less than an hour; where that is not known, `disk_hours` is null. */
export const diskShort = computed(() => !recorderDown.value && typeof recorder.value?.disk_hours === "number" && recorder.value.disk_hours < 1);

const waiting = new Map<string, Message>();
let waitingLog: Message[] = [];
let waitingNotifications: Message[] = [];
let planned = false;

function publishWaiting(): void {
  planned = false;
  if (waiting.size) {
    newest.value = new Map([...newest.value, ...waiting]);
    waiting.clear();
  }
  if (waitingLog.length) log.value = [...log.value, ...waitingLog].slice(-LOG_LINES);
  if (waitingNotifications.length)
    notifications.value = [...notifications.value, ...waitingNotifications].slice(-NOTIFICATIONS);
  waitingLog = [];
  waitingNotifications = [];
}

/** Why each part died that did so just now: it may be back before anybody has looked. */
export const deaths = signal<ReadonlyMap<string, string>>(new Map());
const SHOWN_MS = 5000;

function noteDeath({ topic, payload }: Message): void {
  const name = /^notify\.(actor|instrument)\.died$/.exec(topic) ? String(payload.actor ?? payload.instrument) : "";
  if (!name) return;
  deaths.value = new Map([...deaths.value, [name, String(payload.reason ?? payload.why ?? "died")]]);
  setTimeout(() => (deaths.value = new Map([...deaths.value].filter(([one]) => one !== name))), SHOWN_MS);
}

/** A page that connects again is told the last lines of the log once more. */
function isKnown({ time, payload }: Message): boolean {
  const last = log.value.at(-1);
  return last !== undefined && time <= last.time && log.value.some((one) => one.time === time && one.payload.msg === payload.msg);
}

function take(message: Message): void {
  if (message.topic.startsWith("logging.")) {
    if (!isKnown(message)) waitingLog.push(message);
  } else if (message.topic.startsWith("notify.")) {
    waitingNotifications.push(message);
    noteDeath(message);
    if (/^notify\.(actor|rig|instrument)\./.test(message.topic)) void refreshActors();
  } else waiting.set(message.topic, message);
  if (!planned) {
    planned = true;
    setTimeout(publishWaiting, 50); // one pass over the page for a whole batch
  }
}

/** Prefixes of topics that tell how parts of the rig are. */
const STATES = ["recorder.", "bus.stats", "bus.hub", "camera.", "instrument.", "detector.", "writer.", "core_metrics.", "edge_metrics.", "status.", "time_sync"];

export async function refreshActors(): Promise<void> {
  try {
    actors.value = await look<Actor[]>("actors.list");
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
  }
}

export function startState(): void {
  onMessage(take);
  want({ newest: STATES, all: ["notify.", "logging."] });
  effect(() => {
    if (connection.value === "live" && !needsToken.value) void refreshActors();
  });
  setInterval(() => {
    if (connection.value === "live" && !document.hidden) void refreshActors();
  }, 2000);
}

export interface Warning {
  text: string;
  page: string;
  /** What is to be opened there. */
  open?: string;
  level: "bad" | "warn";
}

/** What a person should look at, worst first. */
export const warnings = computed<Warning[]>(() => {
  const found: Warning[] = [];
  for (const actor of actors.value ?? []) {
    if (actor.state === "stopped" && !actor.last_error) found.push({ text: `${actor.name} is stopped`, page: "overview", open: `actors/${actor.name}`, level: "warn" });
    else if (!FINE.has(actor.state) && actor.state !== "starting")
      found.push({ text: `${actor.name}: ${(actor.last_error || words(actor.state)).replace(`${actor.name}: `, "")}`, page: "overview", open: `actors/${actor.name}`, level: "bad" });
  }
  for (const one of instruments.value) {
    if (BAD_INSTRUMENT.has(one.state) && !deaths.value.has(one.name)) found.push({ text: `${one.name} is ${words(one.state)}`, page: "instruments", open: one.name, level: "bad" });
  }
  for (const { topic, payload } of newest.value.values()) {
    const lives = actors.value?.some((one) => one.name === payload.name && one.state === "running");
    if (topic.startsWith("writer.") && payload.state === "connecting" && lives)
      found.push({ text: `${String(payload.name)} looks for its detector at ${String(payload.address)}`, page: "images", level: "warn" });
  }
  for (const [name, why] of deaths.value)
    if (!found.some((one) => one.text.startsWith(`${name}:`)))
      found.push({ text: `${name} died: ${why}`, page: "overview", open: `${instruments.value.some((one) => one.name === name) ? "instruments" : "actors"}/${name}`, level: "bad" });
  const state = recorder.value;
  if (state && Number(state.dropped) > 0 && recording.value)
    found.push({ text: `${state.dropped} messages not recorded`, page: "sessions", level: "bad" });
  if (diskShort.value && recording.value) found.push({ text: "the disk lasts less than an hour", page: "sessions", level: "bad" });
  return found.sort((a, b) => a.level.localeCompare(b.level));
});

export const BAD_INSTRUMENT = new Set(["backing_off", "given_up", "stuck"]);

/** What an actor is, by its class: `labwire.actors.eyes:SimulatedEyes`. */
export function kindOf(actorClass: string): string {
  return (actorClass.split(":").at(-1) ?? "actor").replace(/([a-z])([A-Z])/g, "$1 $2").replace(/ Actor$/, "").toLowerCase();
}

export function words(state: string): string {
  return state.replace(/_/g, " ");
}
