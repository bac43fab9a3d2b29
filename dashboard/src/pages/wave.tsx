// A waveform that an instrument gave.
import { useMemo } from "preact/hooks";
import type uPlot from "uplot";
import { axis, Chart, colour, COLOURS } from "../chart";
import { figure } from "../format";

export interface ArrayText {
  dtype: string;
  shape: number[];
  /** base64 */
  data: string;
}

function decode({ dtype, data }: ArrayText): ArrayLike<number> {
  const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
  const kinds: Record<string, new (buffer: ArrayBuffer) => ArrayLike<number>> = {
    f4: Float32Array,
    f8: Float64Array,
    i1: Int8Array,
    u1: Uint8Array,
    i2: Int16Array,
    u2: Uint16Array,
    i4: Int32Array,
    u4: Uint32Array,
  };
  const make = kinds[dtype.replace(/[<|=>]/, "")];
  return make ? new make(bytes.buffer) : [];
}

export function Wave({ array }: { array: ArrayText }) {
  const { data, options, text } = useMemo(() => {
    const all = decode(array);
    const columns = array.shape.length > 1 ? Math.min(array.shape[0] ?? 1, COLOURS.length) : 1;
    const length = Math.floor(all.length / columns);
    const lines = Array.from({ length: columns }, (_, n) => Array.from({ length }, (_, at) => all[n * length + at] ?? null));
    const flat = lines.flat().filter((value): value is number => value !== null);
    const low = flat.reduce((a, b) => Math.min(a, b), Infinity);
    const high = flat.reduce((a, b) => Math.max(a, b), -Infinity);
    const made: Omit<uPlot.Options, "width" | "height"> = {
      scales: { x: { time: false } },
      legend: { show: columns > 1 },
      series: [{ label: "sample" }, ...lines.map((_, n) => ({ label: `channel ${n}`, stroke: () => colour(COLOURS[n] ?? "--c1"), width: 1.5, points: { show: false } }))],
      axes: [axis(), axis({ size: 64 })],
    };
    const aligned: uPlot.AlignedData = [Array.from({ length }, (_, at) => at), ...lines];
    return { data: aligned, options: made, text: `${array.shape.join(" × ")} samples, ${figure(low)} to ${figure(high)}` };
  }, [array]);
  return (
    <>
      <Chart options={options} data={data} height={260} label={`Waveform: ${text}`} />
      <p class="muted number">{text}</p>
    </>
  );
}
