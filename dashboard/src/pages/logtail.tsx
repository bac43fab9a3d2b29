// The log as it is written.
import { useComputed, useSignal } from "@preact/signals";
import { logText } from "../format";
import { log } from "../state";
import { Card, Empty, Field, Scroll, Select } from "../ui";
import { LEVELS, LogLines } from "./log";

export function LogTail() {
  const level = useSignal<(typeof LEVELS)[number]>("INFO");
  const search = useSignal("");
  const shown = useComputed(() =>
    log.value
      .filter(({ payload }) => LEVELS.indexOf(String(payload.levelname) as (typeof LEVELS)[number]) >= LEVELS.indexOf(level.value))
      .filter(({ payload }) => `${String(payload.name)} ${logText(payload)}`.toLowerCase().includes(search.value.toLowerCase()))
      .slice(-300)
      .reverse(),
  );
  return (
    <Card title="Log">
      <div class="row">
        <Select label="From level" value={level.value} options={LEVELS} onChange={(value) => (level.value = value)} />
        <Field inline label="Search" value={search} />
      </div>
      {shown.value.length ? (
        <Scroll label="Log" class="tall">
          <LogLines lines={shown.value} />
        </Scroll>
      ) : (
        <Empty title="Nothing logged">{search.value ? "Nothing that contains this." : "Lines show here as they are written."}</Empty>
      )}
    </Card>
  );
}
