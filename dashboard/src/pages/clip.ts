// To the clipboard, also where the page came over plain HTTP from another computer.
import { toast } from "../ui";

/** A word as a shell takes it, whatever is in it. */
export function shellWord(text: string): string {
  return /^[\w./,:=+-]+$/.test(text) ? text : `'${text.replace(/'/g, `'\\''`)}'`;
}

export async function clipText(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    toast(`copied: ${text}`);
  } catch {
    toast(text); // the browser does not allow it: to be copied by hand
  }
}
