// Continuous acquisitions: block after block, as many as this page has taken. They go on while another page is shown.
import { signal } from "@preact/signals";
import { call, cancelJob, Problem, runJob, type Job } from "../api";
import type { ArrayText } from "./wave";

export interface Block {
  acquisition: number;
  number: number;
  value: unknown;
  array: ArrayText | null;
}
export interface Acquisition {
  instrument: string;
  verb: string;
  block: Block | null;
  blocks: number;
  blocks_hz: number;
}

/** Blocks that are made before this page has said that it took some: it asks five times a second. */
const WINDOW = 64;

export const acquisitions = signal<ReadonlyMap<string, Acquisition>>(new Map());
const aborts = new Map<string, AbortController>();
const jobs = new Map<string, string>();

function put(instrument: string, running: Acquisition | null): void {
  const next = new Map(acquisitions.value);
  if (running) next.set(instrument, running);
  else next.delete(instrument);
  acquisitions.value = next;
}

export function stopAcquisition(instrument: string): void {
  aborts.get(instrument)?.abort();
}

/** Acquire until it is stopped or the instrument is done; returns how many blocks came. */
export async function acquire(instrument: string, verb: string, params: Record<string, unknown>): Promise<number> {
  const abort = new AbortController();
  aborts.set(instrument, abort);
  let blocks = 0;
  let since = performance.now();
  put(instrument, { instrument, verb, block: null, blocks, blocks_hz: 0 });
  function take(job: Job<Block, unknown>): void {
    jobs.set(instrument, job.id);
    const fresh = job.reports - blocks;
    if (!job.progress || fresh <= 0) return;
    const now = performance.now();
    put(instrument, { instrument, verb, block: job.progress, blocks: job.reports, blocks_hz: (1000 * fresh) / (now - since) });
    [blocks, since] = [job.reports, now];
    // One that has ended takes no notice; what else is wrong, the job tells.
    void call("instruments.grant", { acquisition: job.progress.acquisition, blocks: fresh }).catch(() => undefined);
  }
  try {
    await runJob<Block, unknown>("instruments.acquire", { name: instrument, verb, params, window: WINDOW }, take, abort.signal);
  } catch (error) {
    if (!(error instanceof Problem && error.code === "CancelledError")) throw error;
  } finally {
    put(instrument, null);
    aborts.delete(instrument);
    jobs.delete(instrument);
  }
  return blocks;
}

// Nobody would take the blocks any more, and the instrument would wait.
addEventListener("pagehide", () => {
  for (const job of jobs.values()) cancelJob(job);
});
