// One command of an instrument as a form.
import { useSignal } from "@preact/signals";
import { count } from "../format";
import { attempt } from "../ui";

export interface Parameter {
  name: string;
  type: string;
  doc: string;
  unit: string;
  minimum: number | null;
  maximum: number | null;
  choices: unknown[];
  required: boolean;
  default: unknown;
}
export interface Verb {
  name: string;
  doc: string;
  parameters: Parameter[];
  returns: string;
  unit: string;
  continuous: boolean;
}

/** Read what was typed as the parameter's type; undefined leaves it out. */
function read(parameter: Parameter, text: string): unknown {
  if (text === "") return undefined;
  if (parameter.choices.length) return parameter.choices.find((choice) => String(choice) === text);
  if (parameter.type === "float" || parameter.type === "int") return Number(text);
  if (parameter.type === "bool") return text === "true";
  if (parameter.type.startsWith("list")) return text.split(",").map((one) => (Number.isNaN(Number(one)) ? one.trim() : Number(one)));
  if (parameter.type === "any") {
    try {
      return JSON.parse(text);
    } catch {
      return text;
    }
  }
  return text;
}

function typeOf({ type }: Parameter): { type: "text" } {
  return { type: (type === "float" || type === "int" ? "number" : "text") as "text" };
}

function hint({ minimum, maximum, unit }: Parameter): string {
  const text = (value: number) => (Number.isInteger(value) ? count(value) : String(value));
  const range =
    minimum !== null && maximum !== null
      ? `${text(minimum)} to ${text(maximum)}`
      : minimum !== null
        ? `from ${text(minimum)}`
        : maximum !== null
          ? `to ${text(maximum)}`
          : "";
  return [range, unit].filter(Boolean).join(" ");
}

export function VerbForm(props: { verb: Verb; disabled: boolean; onRun: (params: Record<string, unknown>) => Promise<void> }) {
  const { verb } = props;
  const values = useSignal<Record<string, string>>({});
  const busy = useSignal(false);
  async function submit(event: Event): Promise<void> {
    event.preventDefault();
    const params: Record<string, unknown> = {};
    for (const parameter of verb.parameters) {
      const value = read(parameter, values.value[parameter.name] ?? "");
      if (value !== undefined) params[parameter.name] = value;
    }
    busy.value = true;
    await attempt(() => props.onRun(params));
    busy.value = false;
  }
  const set = (name: string) => (event: { currentTarget: HTMLInputElement | HTMLSelectElement }) =>
    (values.value = { ...values.value, [name]: event.currentTarget.value });
  return (
    <form class="verb" onSubmit={(event) => void submit(event)} aria-label={verb.name}>
      <h3>{verb.name}</h3>
      <p class="muted">{verb.doc.split("\n\n")[0]}</p>
      {verb.parameters.map((parameter) => {
        const choices = parameter.choices.length ? parameter.choices.map(String) : parameter.type === "bool" ? ["true", "false"] : [];
        const usual = parameter.default === null || parameter.default === undefined ? "" : String(parameter.default);
        return (
          <label class="field" key={parameter.name} title={parameter.doc}>
            <span>
              {parameter.name} <small>{hint(parameter)}</small>
            </span>
            {choices.length ? (
              <select value={values.value[parameter.name] ?? ""} required={parameter.required} onChange={set(parameter.name)}>
                <option value="">{usual ? `${usual} (default)` : "choose"}</option>
                {choices.map((choice) => (
                  <option key={choice}>{choice}</option>
                ))}
              </select>
            ) : (
              <input
                {...typeOf(parameter)}
                step={parameter.type === "int" ? 1 : "any"}
                min={parameter.minimum ?? undefined}
                max={parameter.maximum ?? undefined}
                required={parameter.required}
                placeholder={usual}
                value={values.value[parameter.name] ?? ""}
                onInput={set(parameter.name)}
              />
            )}
          </label>
        );
      })}
      <div class="row">
        <button type="submit" class="primary" disabled={props.disabled || busy.value}>
          {verb.continuous ? (busy.value ? "Acquiring…" : "Acquire") : busy.value ? "Waiting…" : "Send"}
        </button>
        {verb.returns !== "none" && (
          <span class="muted">
            {verb.continuous ? "block after block: " : "gives "}
            {verb.returns} {verb.unit}
          </span>
        )}
      </div>
    </form>
  );
}
