// Start a recording with what the boxes of the page "Sessions" say, wherever it is started from.
import { signal } from "@preact/signals";
import { call, look, Problem } from "./api";
import { toast } from "./ui";

export interface Offer {
  name: string;
  about: string;
  always: boolean;
}
interface Started {
  session_name: string;
  failed: { stream: string; reason: string }[];
}

/** What a session can have; empty until somebody has asked. */
export const offers = signal<readonly Offer[]>([]);

/** Names that were unchecked: they stay so for the next session, and while another page is shown. */
export const leftOut = signal<ReadonlySet<string>>(new Set());

export async function findOffers(): Promise<void> {
  try {
    offers.value = await look<Offer[]>("record.streams");
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
  }
}

export async function startRecording(name = "", require = false): Promise<void> {
  if (leftOut.value.size) await findOffers(); // what has joined the rig since the boxes were shown is wanted
  const absent = offers.value.filter((one) => !one.always && leftOut.value.has(one.name));
  const streams = offers.value.filter((one) => !absent.includes(one)).map((one) => one.name);
  const begun = await call<Started>("record.start", { name, require, streams: absent.length ? streams : null });
  if (absent.length) toast(`recording without ${absent.map((one) => one.name).join(", ")}`);
  for (const one of begun.failed) toast(`${one.stream} does not record: ${one.reason}`, "bad");
}
