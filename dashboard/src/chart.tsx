// uPlot in a component that follows its box and the colours of the page.
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";

export interface ChartApi {
  set(data: uPlot.AlignedData): void;
  plot: uPlot;
}

export const COLOURS = ["--c1", "--c2", "--c3", "--c4", "--c5", "--c6", "--c7", "--c8"];

export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim() || "#888";
}

/** Axes in the colours of the page. */
export function axis(options: uPlot.Axis = {}): uPlot.Axis {
  const text = () => colour("--muted");
  const line = () => colour("--grid");
  return {
    stroke: text,
    font: "12px system-ui, sans-serif",
    grid: { stroke: line, width: 1 },
    ticks: { stroke: line, width: 1 },
    ...options,
  };
}

/** The marks of the legend get their colours once; in other colours of the page they are others. */
function colourLegend(plot: uPlot): void {
  const markers = plot.root.querySelectorAll<HTMLElement>(".u-legend .u-marker");
  const first = plot.series.length - markers.length; // there is none for the time where that has no row
  markers.forEach((marker, n) => {
    const stroke = plot.series[first + n]?.stroke;
    if (typeof stroke === "function") marker.style.borderColor = String(stroke(plot, first + n));
  });
}

type ChartProps = {
  options: Omit<uPlot.Options, "width" | "height">;
  data: uPlot.AlignedData;
  height: number;
  label: string;
  onReady?: (api: ChartApi) => (() => void) | void;
};

/** Made anew when `options` is another object; new `data` is only drawn. */
export function Chart({ options, data, height, label, onReady }: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const made = useRef<uPlot | null>(null);
  useEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    const plot = new uPlot({ ...options, width: element.clientWidth || 300, height }, data, element);
    made.current = plot;
    const size = new ResizeObserver(() => plot.setSize({ width: element.clientWidth || 300, height }));
    size.observe(element);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    const redraw = () => {
      plot.redraw(false, true);
      colourLegend(plot);
    };
    scheme.addEventListener("change", redraw);
    const theme = new MutationObserver(redraw);
    theme.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    const done = onReady?.({ plot, set: (next) => plot.setData(next) });
    return () => {
      done?.();
      size.disconnect();
      theme.disconnect();
      scheme.removeEventListener("change", redraw);
      plot.destroy();
      made.current = null;
    };
  }, [options, height]);
  useEffect(() => {
    if (!onReady) made.current?.setData(data);
  }, [data]);
  return <div class="chart" ref={box} role="img" aria-label={label} />;
}
