// Lines of the log.
import { logText } from "../format";
import type { Message } from "../live";

export const LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] as const;

export function LogLines({ lines }: { lines: readonly Message[] }) {
  return (
    <ol class="log">
      {lines.map(({ number, payload, time }) => (
        <li key={number} class={String(payload.levelname ?? "").toLowerCase()}>
          <time>{time.toFixed(1)}</time>
          <b>{String(payload.levelname ?? "")}</b>
          <span class="who" title={String(payload.name ?? "")}>
            {String(payload.name ?? "")}
          </span>
          <span class="text">{logText(payload)}</span>
        </li>
      ))}
    </ol>
  );
}
