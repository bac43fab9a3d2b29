// What a check of a session found: the verdict first, then what is wrong, then all of it.
import { count } from "../format";
import { Pill, Scroll } from "../ui";
import { Tree } from "./tree";

export interface Check {
  whole: boolean;
  lossless: boolean;
  messages: number;
  pictures: number;
  images: number;
  problems: string[];
  files: unknown[];
}
const MAX_PROBLEMS = 20;

export function Verified({ found }: { found: Check }) {
  const { whole, lossless, problems } = found;
  const counted = [`${count(found.messages)} messages`, `${count(found.pictures)} pictures`, ...(found.images ? [`${count(found.images)} images`] : []), `${count(found.files.length)} files`];
  return (
    <>
      <p class="row">
        <Pill level={whole ? "good" : "bad"}>{whole ? "whole" : "not whole"}</Pill>
        <Pill level={lossless ? "good" : "warn"}>{lossless ? "lossless" : "not lossless"}</Pill>
        <span class="muted number">counted {counted.join(", ")}</span>
      </p>
      {problems.length > 0 && (
        <ul class="warnings" aria-label="What is wrong">
          {problems.slice(0, MAX_PROBLEMS).map((text) => (
            <li key={text} class={whole ? "" : "bad"}>
              {text}
            </li>
          ))}
          {problems.length > MAX_PROBLEMS && <li>and {count(problems.length - MAX_PROBLEMS)} more</li>}
        </ul>
      )}
      <details>
        <summary>All that was found</summary>
        <Scroll label="All that was found" class="payload">
          <Tree value={found} />
        </Scroll>
      </details>
    </>
  );
}
