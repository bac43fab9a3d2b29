// uPlot in a component that follows its box and the colours of the page.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { actOf, KEYS, told, ZOOM_KEYS } from "./plotkeys";

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
  /** Whether a part can be shown larger; a plot without a cursor has no keys at all. */
  zoom?: boolean;
  /** Somebody looks at a part, or at a point: a plot that moves on should stand still. */
  onHold?: () => void;
  /** Somebody wants to see all again. */
  onAll?: () => void;
  /** Somebody has chosen a place, by a click or Enter. */
  onPick?: (x: number) => void;
};

const DRAGGED_PX = 4;

/** What is done with the mouse beside what uPlot does itself. */
function followMouse(over: HTMLElement, plot: uPlot, props: () => ChartProps): void {
  let from = 0;
  over.addEventListener("mousedown", (event) => (from = event.clientX));
  over.addEventListener("mousemove", (event) => {
    if (event.buttons & 1 && Math.abs(event.clientX - from) > DRAGGED_PX) props().onHold?.();
  });
  over.addEventListener("dblclick", () => props().onAll?.());
  over.addEventListener("click", () => {
    const left = plot.cursor.left ?? -1;
    if (left >= 0) props().onPick?.(plot.posToVal(left, "x"));
  });
}

/** Made anew when `options` is another object; new `data` is only drawn. */
export function Chart(props: ChartProps) {
  const { options, data, height, label, onReady, zoom = true } = props;
  const box = useRef<HTMLDivElement>(null);
  const made = useRef<uPlot | null>(null);
  const latest = useRef(props);
  latest.current = props;
  const said = useSignal("");
  useEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    const plot = new uPlot({ ...options, width: element.clientWidth || 300, height }, data, element);
    made.current = plot;
    followMouse(plot.over, plot, () => latest.current);
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
  function press(event: KeyboardEvent): void {
    const plot = made.current;
    if (!plot?.data[0].length) return;
    const { onHold, onAll, onPick } = latest.current;
    if (event.key === "Enter" && onPick && (plot.cursor.left ?? -1) >= 0) onPick(plot.posToVal(plot.cursor.left ?? 0, "x"));
    const act = actOf(event, zoom);
    if (!act) return;
    event.preventDefault();
    if (event.key === "0") onAll?.();
    else if (zoom) onHold?.();
    act(plot);
    setTimeout(() => {
      if (made.current === plot) said.value = told(plot);
    });
  }
  if (options.cursor?.show === false) return <div class="chart" ref={box} role="img" aria-label={label} />;
  const keys = `${zoom ? ZOOM_KEYS : KEYS}${props.onPick ? ", Enter goes there" : ""}`;
  return (
    <>
      <div
        class="chart"
        ref={box}
        role="application"
        aria-roledescription="plot"
        aria-label={`${label}. ${keys}.`}
        tabIndex={0}
        onKeyDown={press}
        onBlur={() => made.current?.setCursor({ left: -10, top: -10 })}
      />
      <p class="hidden" aria-live="polite">
        {said.value}
      </p>
    </>
  );
}
