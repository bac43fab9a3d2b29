// What a check of a session found: the verdict first, then what is wrong, then all of it.
import { count } from "../format";
import { Pill, Scroll } from "../ui";
import { Tree } from "./tree";

export interface Check {
  whole: boolean;
  lossless: boolean;
  verdict: string;
  messages: number;
  pictures: number;
  images: number;
  problems: string[];
  remarks: string[];
  files: unknown[];
}
const MAX_SHOWN = 20;

function Sentences({ label, all, tone = "" }: { label: string; all: string[]; tone?: string }) {
  if (all.length === 0) return null;
  return (
    <ul class="warnings" aria-label={label}>
      {all.slice(0, MAX_SHOWN).map((text, place) => (
        <li key={place} class={tone}>
          {text}
        </li>
      ))}
      {all.length > MAX_SHOWN && <li>and {count(all.length - MAX_SHOWN)} more</li>}
    </ul>
  );
}

export function Verified({ found }: { found: Check }) {
  const { whole, lossless, verdict, problems, remarks } = found;
  const counted = [`${count(found.messages)} messages`, `${count(found.pictures)} pictures`, ...(found.images ? [`${count(found.images)} images`] : []), `${count(found.files.length)} files`];
  return (
    <>
      <p class="row">
        <Pill level={whole ? "good" : "bad"}>{whole ? "whole" : "not whole"}</Pill>
        <Pill level={lossless ? "good" : "warn"}>{lossless ? "lossless" : "not lossless"}</Pill>
        <span class="muted number">counted {counted.join(", ")}</span>
      </p>
      <p>{verdict}</p>
      <Sentences label="What is wrong" all={problems} tone={whole ? "" : "bad"} />
      {remarks.length > 0 && <p class="muted">While it recorded:</p>}
      <Sentences label="What happened while it recorded" all={remarks} />
      <details>
        <summary>All that was found</summary>
        <Scroll label="All that was found" class="payload">
          <Tree value={found} />
        </Scroll>
      </details>
    </>
  );
}
