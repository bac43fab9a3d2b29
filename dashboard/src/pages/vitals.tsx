// Pulse and breathing, large, with confidence and trace, where the rig measures them.
import { status, type Payload } from "../live";
import { newest } from "../state";
import { Card, Empty, Figure } from "../ui";
import { Trend } from "./plots";
import { PulseTrace, samplesOf } from "./pulsetrace";

interface Estimate {
  value: number;
  confidence?: number;
}
const FRESH_S = 10;
const FIGURES = ["pulse", "breathing"];
const TRACES = [["upper_breathing_trace", "upper chest"], ["lower_breathing_trace", "lower chest"]] as const;

/** What was measured strictly, or however else it is told. */
function estimateOf(told: unknown): Estimate | null {
  if (typeof told !== "object" || told === null) return null;
  const inside = "value" in told ? told : ("strict" in told ? told.strict : Object.values(told)[0]);
  return typeof inside === "object" && inside !== null && "value" in inside && typeof inside.value === "number" ? (inside as Estimate) : null;
}

/** The newest message of a topic, empty if it is too old to say how somebody is. */
function fresh(topic: string): Payload {
  const payload = newest.value.get(topic)?.payload;
  const age_s = (status.value?.rig_time_s ?? 0) - Number(payload?.timestamp ?? 0);
  return payload && !(age_s > FRESH_S) ? payload : {};
}

export function Vitals() {
  const cameras = [...newest.value.keys()].filter((topic) => topic.startsWith("edge_metrics.")).map((topic) => topic.slice("edge_metrics.".length));
  return (
    <>
      {cameras.map((camera) => {
        const core = fresh(`core_metrics.${camera}`);
        const edge = fresh(`edge_metrics.${camera}`);
        const breathing = TRACES.filter(([field]) => typeof edge[field] === "number");
        const pulse = samplesOf(core).length > 0;
        return (
          <Card key={camera} title={`Vital signs: ${camera}`}>
            <div class="vitals">
              <dl class="figures large">
                {FIGURES.map((name) => {
                  const estimate = estimateOf(core[name]);
                  const sure = estimate?.confidence;
                  return (
                    <Figure
                      key={name}
                      label={sure === undefined ? `${name}, no measurement` : `${name}, confidence ${Math.round(100 * sure)} %`}
                      value={estimate ? estimate.value.toFixed(0) : "–"}
                      unit="/min"
                      level={sure !== undefined && sure < 0.5 ? "warn" : undefined}
                    />
                  );
                })}
              </dl>
              <div class="traces">
                {pulse && <PulseTrace topic={`core_metrics.${camera}`} />}
                {breathing.length > 0 && (
                  <Trend
                    series={breathing.map(([field]) => ({ topic: `edge_metrics.${camera}`, field }))}
                    names={breathing.map(([, name]) => `${name} (% of the face)`)}
                    seconds={30}
                    apart={false}
                    height={150}
                  />
                )}
                {!pulse && !breathing.length && <Empty title="No trace now">{String(fresh(`status.${camera}`).message ?? "")}</Empty>}
              </div>
            </div>
          </Card>
        );
      })}
    </>
  );
}
