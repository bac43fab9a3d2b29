// Each instrument's verbs as forms, made from what its driver tells of itself.
import { signal, useComputed, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { call, look, Problem } from "../api";
import { figure, rate } from "../format";
import { hello } from "../live";
import { go, place } from "../route";
import { BAD_INSTRUMENT, instruments, words, type Instrument } from "../state";
import { Button, Card, Empty, Pill, Scroll, type Level } from "../ui";
import { acquire, acquisitions, stopAcquisition, type Acquisition } from "./acquire";
import { clipText, shellWord } from "./clip";
import { VerbForm, type Verb } from "./verb";
import { Wave, type ArrayText } from "./wave";

interface Api {
  driver: string;
  doc: string;
  verbs: Verb[];
}
export interface Result {
  command_id: string;
  verb: string;
  value: unknown;
  array: ArrayText | null;
  text: string;
  duration_s: number;
}
interface Done {
  number: number;
  instrument: string;
  verb: string;
  params: Record<string, unknown>;
  result: Result | null;
  /** Of a continuous acquisition that has ended; null for a command. */
  blocks: number | null;
  error: string;
  at: Date;
}

const HISTORY = 50;
/** The one that was open last. */
let last = "";
const history = signal<Done[]>([]);
let number = 0;

function levelOf(one: Instrument): Level {
  if (BAD_INSTRUMENT.has(one.state)) return "bad";
  return one.state === "ready" || one.state === "busy" ? "good" : one.state === "stopped" ? "idle" : "warn";
}

async function run(instrument: string, { name: verb, continuous }: Verb, params: Record<string, unknown>): Promise<void> {
  const row: Done = { number: number++, instrument, verb, params, result: null, blocks: null, error: "", at: new Date() };
  try {
    if (continuous) row.blocks = await acquire(instrument, verb, params);
    else row.result = await call<Result>("instruments.call", { name: instrument, verb, params });
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    row.error = error.message;
  }
  history.value = [row, ...history.value].slice(0, HISTORY);
}

function List() {
  return (
    <ul class="choice" aria-label="Instruments">
      {instruments.value.map((one) => (
        <li key={one.name}>
          <button type="button" aria-pressed={one.name === shownName()} onClick={() => go("instruments", one.name)}>
            <b>{one.name}</b>
            <Pill level={levelOf(one)}>{words(one.state)}</Pill>
          </button>
        </li>
      ))}
    </ul>
  );
}

function shownName(): string {
  const names = instruments.value.map((one) => one.name);
  const { view, open } = place.value;
  if (view === "instruments" && names.includes(open)) last = open;
  return names.includes(last) ? last : (names[0] ?? "");
}

function Latest({ done }: { done: Done | undefined }) {
  if (!done) return <Empty title="No command yet">What an instrument answers stands here.</Empty>;
  const { result } = done;
  const value = result?.array ? null : (result?.value ?? result?.text);
  return (
    <div class="latest" aria-live="polite">
      <p class="muted">
        {done.verb} at {done.at.toLocaleTimeString()}
        {result && `, ${(1000 * result.duration_s).toFixed(1)} ms`}
      </p>
      {done.error && <p class="error">{done.error}</p>}
      {done.blocks !== null && <output>{done.blocks} blocks</output>}
      {result?.array && <Wave array={result.array} />}
      {result && !result.array && <output>{value === null || value === "" ? "done" : typeof value === "object" ? JSON.stringify(value) : figure(value)}</output>}
    </div>
  );
}

/** The newest block of an acquisition that runs. */
function Live({ running }: { running: Acquisition }) {
  const { block } = running;
  return (
    <div class="latest">
      <p class="row">
        <Pill level="record">{running.verb}</Pill>
        <span class="muted number">
          {running.blocks} blocks, {rate(running.blocks_hz)} /s
        </span>
        <Button kind="danger" onClick={() => stopAcquisition(running.instrument)}>
          Stop acquiring
        </Button>
      </p>
      {block?.array && <Wave array={block.array} />}
      {block && !block.array && <output>{figure(block.value)}</output>}
      {!block && <Empty title="Waiting for the first block…" />}
    </div>
  );
}

function History({ rows }: { rows: Done[] }) {
  if (!rows.length) return null;
  return (
    <Scroll label="History">
      <table class="rows">
        <thead>
          <tr>
            <th>time</th>
            <th>command</th>
            <th>answer</th>
            <th class="right">ms</th>
            <th>copy</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.number}>
              <td class="number">{row.at.toLocaleTimeString()}</td>
              <td>
                {row.verb} <span class="muted">{Object.keys(row.params).length ? JSON.stringify(row.params) : ""}</span>
              </td>
              <td class={`cut ${row.error ? "bad-text" : ""}`} title={row.error}>
                {row.error || (row.blocks !== null ? `${row.blocks} blocks` : row.result?.array ? `${row.result.array.shape.join(" × ")} ${row.result.array.dtype}` : figure(row.result?.value))}
              </td>
              <td class="right number">{row.result ? (1000 * row.result.duration_s).toFixed(1) : ""}</td>
              <td class="row">
                <Button kind="plain" onClick={() => clipText(asPython(row))}>
                  Python
                </Button>
                <Button kind="plain" onClick={() => clipText(asCommand(row))}>
                  CLI
                </Button>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

type Command = Pick<Done, "instrument" | "verb" | "params" | "blocks">;

export function asPython({ instrument, verb, params, blocks }: Command): string {
  const literal = (value: unknown) => (value === true ? "True" : value === false ? "False" : JSON.stringify(value));
  const given = Object.entries(params).map(([key, value]) => `${JSON.stringify(key)}: ${literal(value)}`);
  const method = blocks === null ? "call" : "blocks";
  return `rig.instrument(${JSON.stringify(instrument)}).${method}(${JSON.stringify(verb)}${given.length ? `, {${given.join(", ")}}` : ""})`;
}

export function asCommand({ instrument, verb, params, blocks }: Command): string {
  const given = Object.entries(params).map(([key, value]) => shellWord(`${key}=${typeof value === "string" ? value : JSON.stringify(value)}`));
  return [blocks === null ? "labwire call" : "labwire instruments acquire", shellWord(instrument), shellWord(verb), ...given].join(" ");
}

function One({ name }: { name: string }) {
  const api = useSignal<Api | null>(null);
  const failure = useSignal("");
  const state = useComputed(() => instruments.value.find((one) => one.name === name));
  const ready = useComputed(() => state.value?.state);
  useEffect(() => {
    let gone = false;
    void (async () => {
      try {
        const found = await look<Api>("instruments.describe", { name });
        if (!gone) [api.value, failure.value] = [found, ""];
      } catch (error) {
        if (!gone) failure.value = error instanceof Problem ? error.message : String(error);
      }
    })();
    return () => {
      gone = true;
    };
  }, [name, ready.value === "ready"]);
  const one = state.value;
  const rows = history.value.filter((row) => row.instrument === name);
  const readOnly = hello.value?.read_only;
  const own = acquisitions.value.get(name);
  return (
    <div class="stack grow">
      <Card
        title={name}
        actions={
          one &&
          !readOnly && (
            <>
              {["stopped", "given_up"].includes(one.state) ? (
                <Button onClick={() => call("instruments.start", { name })}>Start</Button>
              ) : (
                <Button onClick={() => call("instruments.restart", { name })}>Restart</Button>
              )}
              <Button kind="danger" onClick={() => call("instruments.stop", { name })}>
                Stop
              </Button>
            </>
          )
        }
      >
        {one && (
          <p class="row">
            <Pill level={levelOf(one)}>{words(one.state)}</Pill>
            <span class="muted">{one.driver || "external worker"}</span>
            <span class="muted number">
              {one.ok} ok, {one.failed} failed, {one.timed_out} timed out, {one.waiting} waiting
            </span>
          </p>
        )}
        {one?.last_error && <p class="error">{one.last_error}</p>}
        {api.value?.doc && <p>{api.value.doc.split("\n\n")[0]}</p>}
        {own && <Live running={own} />}
        {!own && one && one.acquisitions > 0 && (
          <p class="row">
            <Pill level="record">acquires continuously</Pill>
            <span class="muted">somebody else began it</span>
            {!readOnly && (
              <Button kind="danger" onClick={() => call("instruments.cancel", { name })}>
                Stop acquiring
              </Button>
            )}
          </p>
        )}
        {!own && <Latest done={rows[0]} />}
      </Card>
      <Card title="Commands">
        {failure.value && <p class="error">{failure.value}</p>}
        {!api.value && !failure.value && <Empty title="Asking the instrument…" />}
        <div class="verbs">
          {api.value?.verbs.map((verb) => (
            <VerbForm key={verb.name} verb={verb} disabled={Boolean(readOnly) || Boolean(own && verb.continuous)} onRun={(params) => run(name, verb, params)} />
          ))}
        </div>
      </Card>
      {rows.length > 0 && (
        <Card title="History">
          <History rows={rows} />
        </Card>
      )}
    </div>
  );
}

export function Instruments() {
  const name = shownName();
  if (!name)
    return (
      <Card title="Instruments">
        <Empty title="This rig has no instruments">They stand under [instruments.NAME] in the rig file.</Empty>
      </Card>
    );
  return (
    <div class="with-list">
      <List />
      <One key={name} name={name} />
    </div>
  );
}
