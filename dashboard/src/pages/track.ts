// The points of one series that a window shows.
import uPlot from "uplot";

const MOST = 20_000;

export class Track {
  private times: number[] = [];
  private values: number[] = [];
  received = 0;

  constructor(private readonly seconds: number) {}

  add(times: Float64Array, values: Float64Array): void {
    this.received += times.length;
    for (let n = 0; n < times.length; n++) {
      const time = times[n] ?? 0;
      // Rig time was set back, or two senders disagree: the line begins anew.
      if (time < this.latest - this.seconds) [this.times, this.values] = [[], []];
      if (time <= this.latest) continue;
      this.times.push(time);
      this.values.push(values[n] ?? NaN);
    }
    const from = Math.max(this.times.findIndex((time) => time >= this.latest - this.seconds * 1.1), this.times.length - MOST);
    if (from > 500) {
      this.times = this.times.slice(from);
      this.values = this.values.slice(from);
    }
  }

  get latest(): number {
    return this.times.at(-1) ?? -Infinity;
  }

  get aligned(): uPlot.AlignedData {
    return [this.times, this.values];
  }
}

/** All tracks over one axis of time. */
export function join(tracks: Track[]): uPlot.AlignedData {
  const [only] = tracks;
  if (tracks.length === 1 && only) return only.aligned;
  return uPlot.join(tracks.map((track) => track.aligned));
}
