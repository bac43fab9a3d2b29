// Long work on a session: how far it is, and what came of it.
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Problem, runJob, type Job } from "../api";
import { Button } from "../ui";
import { Tree } from "./tree";

export function Work(props: { operation: string; body: Record<string, unknown>; onDone: () => void; show?: (result: unknown) => ComponentChildren }) {
  const { operation, body, onDone } = props;
  const job = useSignal<Job | null>(null);
  const abort = useRef(new AbortController());
  const failure = useSignal("");
  const cancelled = useSignal(false);
  useEffect(() => {
    void (async () => {
      try {
        await runJob(operation, body, (state) => (job.value = state as Job), abort.current.signal);
      } catch (error) {
        if (error instanceof Problem && error.code === "CancelledError") cancelled.value = true;
        else failure.value = error instanceof Problem ? error.message : String(error);
      }
      onDone();
    })();
  }, []);
  const progress = job.value?.progress as { step?: string; done_bytes?: number; total_bytes?: number } | null | undefined;
  return (
    <div class="work" aria-live="polite">
      {job.value?.state === "running" && (
        <div class="row progress">
          <progress value={progress?.done_bytes ?? undefined} max={progress?.total_bytes || 1} aria-label={operation} />
          <span class="muted">{progress?.step}</span>
          <Button onClick={() => abort.current.abort()}>Cancel</Button>
        </div>
      )}
      {cancelled.value && <p class="muted">Cancelled: nothing is left of it.</p>}
      {failure.value && <p class="error">{failure.value}</p>}
      {job.value?.state === "done" && (props.show ? props.show(job.value.result) : <Tree value={job.value.result} />)}
    </div>
  );
}
