// Where the page is, in the part of the address after #: the view, and what is open in it.
// So back and forward, a reload and a link for a colleague work. What stands there was written by anybody: it is looked
// up by name and shown as text, and nothing is done because of it.
import { signal } from "@preact/signals";

export interface Place {
  view: string;
  /** What is open: a session, an instrument, a tab; empty: nothing, or what was open last. */
  open: string;
  /** Moment of a session, s. */
  at: number;
}
const LONGEST = 400;
const LATER_MS = 400;

export function readPlace(hash: string): Place {
  const [path = "", query = ""] = hash.replace(/^#?\/?/, "").split("?");
  const [view = "", ...open] = path.split("/").map(decoded);
  const at = Number(new URLSearchParams(query).get("at"));
  return { view, open: open.join("/").slice(0, LONGEST), at: Number.isFinite(at) ? Math.max(0, at) : 0 };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // written by hand
  }
}

/** The address of a place: `#/sessions/my%20pilot/000?at=12.50`. */
export function addressOf(view: string, open = "", at = 0): string {
  const parts = open ? open.split("/") : [];
  return `#/${[view, ...parts].map(encodeURIComponent).join("/")}${at > 0 ? `?at=${at.toFixed(2)}` : ""}`;
}

export const place = signal<Place>(readPlace(location.hash));

/** Follow the address; the returned function ends it. */
export function followAddress(onMove: (from: Place, to: Place) => void): () => void {
  const follow = () => {
    const from = place.peek();
    place.value = readPlace(location.hash);
    onMove(from, place.peek());
  };
  addEventListener("hashchange", follow);
  return () => removeEventListener("hashchange", follow);
}

/** Go somewhere: the way back is kept. */
export function go(view: string, open = ""): void {
  location.hash = addressOf(view, open);
}

let later = 0;

/** Note the moment in the address of the session that is open, once it stands still; there is no way back to each. */
export function noteMoment(at: number): void {
  clearTimeout(later);
  const { view, open } = place.peek();
  later = setTimeout(() => {
    const now = place.peek();
    if (now.view === view && now.open === open) history.replaceState(null, "", addressOf(view, open, at));
  }, LATER_MS);
}
