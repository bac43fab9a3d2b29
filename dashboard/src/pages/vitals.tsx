// Pulse and breathing, large, with confidence and trace, where the rig measures them.
import { useSignal } from "@preact/signals";
import { newest } from "../state";
import { Card, Figure } from "../ui";
import { Trend, type Chosen } from "./plots";

interface Estimate {
  value: number;
  confidence?: number;
}
const FIGURES = ["pulse", "breathing"];
const TRACES = ["upper_breathing_trace", "lower_breathing_trace"];

/** What was measured strictly, or however else it is told. */
function estimateOf(told: unknown): Estimate | null {
  if (typeof told !== "object" || told === null) return null;
  const inside = "value" in told ? told : ("strict" in told ? told.strict : Object.values(told)[0]);
  return typeof inside === "object" && inside !== null && "value" in inside && typeof inside.value === "number" ? (inside as Estimate) : null;
}

export function Vitals() {
  const paused = useSignal(false);
  const cameras = [...newest.value.keys()].filter((topic) => topic.startsWith("edge_metrics.")).map((topic) => topic.slice("edge_metrics.".length));
  return (
    <>
      {cameras.map((camera) => {
        const core = newest.value.get(`core_metrics.${camera}`)?.payload ?? {};
        const series: Chosen[] = TRACES.map((field) => ({ topic: `edge_metrics.${camera}`, field }));
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
                      label={sure === undefined ? `${name}, measuring` : `${name}, confidence ${Math.round(100 * sure)} %`}
                      value={estimate ? estimate.value.toFixed(0) : "–"}
                      unit="/min"
                      level={sure !== undefined && sure < 0.5 ? "warn" : undefined}
                    />
                  );
                })}
              </dl>
              <Trend series={series} seconds={30} apart={false} paused={paused} height={170} />
            </div>
          </Card>
        );
      })}
    </>
  );
}
