// Long work on a session: how far it is, and what came of it.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { Problem, runJob, type Job } from "../api";
import { Button } from "../ui";
import { Tree } from "./tree";

export function Work({ session, operation, onDone }: { session: string; operation: string; onDone: () => void }) {
  const job = useSignal<Job | null>(null);
  const abort = useRef(new AbortController());
  const failure = useSignal("");
  useEffect(() => {
    void (async () => {
      try {
        await runJob(operation, { session }, (state) => (job.value = state as Job), abort.current.signal);
      } catch (error) {
        failure.value = error instanceof Problem ? error.message : String(error);
      }
      onDone();
    })();
  }, []);
  const progress = job.value?.progress as { step?: string; done_bytes?: number; total_bytes?: number } | null | undefined;
  return (
    <div class="work" aria-live="polite">
      {job.value?.state === "running" && (
        <div class="row">
          <progress value={progress?.done_bytes ?? undefined} max={progress?.total_bytes || 1} aria-label={operation} />
          <span class="muted">{progress?.step}</span>
          <Button onClick={() => abort.current.abort()}>Cancel</Button>
        </div>
      )}
      {failure.value && <p class="error">{failure.value}</p>}
      {job.value?.state === "done" && <Tree value={job.value.result} />}
    </div>
  );
}
