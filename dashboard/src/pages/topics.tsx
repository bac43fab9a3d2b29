// Live topics with rates and sizes.
import { useSignal, type Signal } from "@preact/signals";
import { bytes, rate } from "../format";
import { newest } from "../state";
import { Card, Empty, Field, Scroll } from "../ui";

interface Topic {
  topic: string;
  messages_hz: number;
  bytes_hz: number;
  total: number;
}

export function Topics({ chosen, onChoose }: { chosen: Signal<string>; onChoose: (topic: string) => void }) {
  const filter = useSignal("");
  const topics = (newest.value.get("bus.stats")?.payload.topics ?? []) as Topic[];
  const shown = topics.filter(({ topic }) => topic.includes(filter.value)).sort((a, b) => a.topic.localeCompare(b.topic));
  return (
    <Card title="Topics" class="side wide">
      <Field label="Filter" value={filter} placeholder="pupil" />
      <Scroll label="Topics" class="tall">
        {shown.length ? (
          <table class="rows topics">
            <thead>
              <tr>
                <th>topic</th>
                <th class="right">/s</th>
                <th class="right">bytes/s</th>
              </tr>
            </thead>
            <tbody>
              {shown.map((one) => (
                <tr
                  key={one.topic}
                  class={one.topic === chosen.value ? "chosen" : ""}
                  onClick={() => {
                    chosen.value = one.topic;
                    onChoose(one.topic);
                  }}
                >
                  <td>
                    <button type="button" class="link" aria-pressed={one.topic === chosen.value}>
                      {one.topic}
                    </button>
                  </td>
                  <td class="right number">{one.messages_hz ? rate(one.messages_hz) : ""}</td>
                  <td class="right number">{one.bytes_hz ? bytes(one.bytes_hz) : ""}</td>
                </tr>
              ))}
            </tbody>
          </table>
        ) : (
          <Empty title={topics.length ? "No topic has that name" : "The bus is silent"} />
        )}
      </Scroll>
    </Card>
  );
}
