// The pulse wave as the camera sees it: each message brings the samples since the one before.
import { useMemo } from "preact/hooks";
import type uPlot from "uplot";
import { axis, Chart, colour, type ChartApi } from "../chart";
import { onMessage, type Payload } from "../live";
import { Track } from "./track";

const SECONDS = 10;
const HEIGHT = 130;

interface Sample {
  /** Microseconds since 1970. */
  timestamp: number;
  value: number;
}

export function samplesOf(payload: Payload | undefined): Sample[] {
  const pulse = payload?.pulse as { trace?: Sample[] } | undefined;
  return Array.isArray(pulse?.trace) ? pulse.trace : [];
}

export function PulseTrace({ topic }: { topic: string }) {
  const options = useMemo<Omit<uPlot.Options, "width" | "height">>(
    () => ({
      scales: { x: { time: false } },
      legend: { show: false },
      cursor: { show: false },
      series: [{}, { stroke: () => colour("--c5"), width: 1.5, points: { show: false } }],
      axes: [axis({ show: false }), axis({ size: 44, values: (_, values) => values.map(() => ""), label: "pulse wave", labelSize: 20, labelFont: "12px system-ui, sans-serif" })],
    }),
    [],
  );
  function ready({ plot, set }: ChartApi): () => void {
    const track = new Track(SECONDS);
    return onMessage((message) => {
      if (message.topic !== topic) return;
      const samples = samplesOf(message.payload);
      track.add(Float64Array.from(samples, (one) => one.timestamp / 1e6), Float64Array.from(samples, (one) => one.value));
      plot.batch(() => {
        set(track.aligned);
        plot.setScale("x", { min: track.latest - SECONDS, max: track.latest });
      });
      plot.root.dataset.points = String(track.received);
    });
  }
  return <Chart options={options} data={[[], []]} height={HEIGHT} label={`Pulse wave of ${topic}`} onReady={ready} />;
}
