// Small parts that every page is made of.
import { signal, type Signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Problem } from "./api";

export type Level = "good" | "warn" | "bad" | "idle" | "record";

export function Pill({ level, children }: { level: Level; children: ComponentChildren }) {
  return (
    <span class={`pill ${level}`}>
      <i aria-hidden="true" />
      {children}
    </span>
  );
}

export function Card(props: { title?: string; actions?: ComponentChildren; children: ComponentChildren; class?: string; id?: string }) {
  return (
    <section class={`card ${props.class ?? ""}`} aria-label={props.title} id={props.id}>
      {props.title && (
        <header>
          <h2>{props.title}</h2>
          {props.actions && <div class="row">{props.actions}</div>}
        </header>
      )}
      {props.children}
    </section>
  );
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <b>{title}</b>
      {children && <p>{children}</p>}
    </div>
  );
}

export function Figure(props: { label: string; value: ComponentChildren; unit?: string; level?: Level }) {
  return (
    <div class={`figure ${props.level ?? ""}`}>
      <dt>{props.label}</dt>
      <dd>
        {props.value}
        {props.unit && <small> {props.unit}</small>}
      </dd>
    </div>
  );
}

type ButtonProps = {
  onClick: () => unknown;
  children: ComponentChildren;
  kind?: "primary" | "danger" | "plain";
  disabled?: boolean;
  label?: string;
  pressed?: boolean;
  title?: string;
};

export function Button(props: ButtonProps) {
  return (
    <button
      type="button"
      class={props.kind ?? ""}
      disabled={props.disabled}
      aria-label={props.label}
      aria-pressed={props.pressed}
      title={props.title}
      onClick={() => void attempt(props.onClick)}
    >
      {props.children}
    </button>
  );
}

export function Select<T extends string>(props: {
  label: string;
  value: T;
  options: readonly (T | readonly [T, string])[];
  onChange: (value: T) => void;
}) {
  return (
    <label class="field inline">
      <span>{props.label}</span>
      <select value={props.value} onChange={(event) => props.onChange(event.currentTarget.value as T)}>
        {props.options.map((option) => {
          const [value, text] = typeof option === "string" ? [option, option] : option;
          return (
            <option key={value} value={value}>
              {text}
            </option>
          );
        })}
      </select>
    </label>
  );
}

type CheckProps = { label: string; unit?: string; checked: boolean; disabled?: boolean; onChange: (checked: boolean) => void };

export function Check(props: CheckProps) {
  return (
    <label class="check">
      <input type="checkbox" checked={props.checked} disabled={props.disabled} onChange={(event) => props.onChange(event.currentTarget.checked)} />
      <span>{props.label}</span>
      {props.unit && <small class="muted">{props.unit}</small>}
    </label>
  );
}

export function Field(props: {
  label: string;
  value: Signal<string>;
  hint?: string;
  placeholder?: string;
  inline?: boolean;
}) {
  return (
    <label class={`field ${props.inline ? "inline" : ""}`}>
      <span>{props.label}</span>
      <input
        type="text"
        value={props.value.value}
        placeholder={props.placeholder}
        autocomplete="off"
        spellcheck={false}
        onInput={(event) => (props.value.value = event.currentTarget.value)}
      />
      {props.hint && <small>{props.hint}</small>}
    </label>
  );
}

// --- toasts

interface Toast {
  id: number;
  text: string;
  level: "good" | "bad";
}

export const toasts = signal<Toast[]>([]);
let toastId = 0;

export function toast(text: string, level: "good" | "bad" = "good"): void {
  const id = toastId++;
  toasts.value = [...toasts.value.slice(-3), { id, text, level }];
  setTimeout(() => closeToast(id), level === "bad" ? 12_000 : 4_000);
}

function closeToast(id: number): void {
  toasts.value = toasts.value.filter((one) => one.id !== id);
}

/** Do something; what goes wrong is shown. */
export async function attempt(work: () => unknown): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    toast(error.message, "bad");
  }
}

export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map((one) => (
        <div key={one.id} class={`toast ${one.level}`}>
          <span>{one.text}</span>
          <button type="button" class="plain" aria-label="Close" onClick={() => closeToast(one.id)}>
            ×
          </button>
        </div>
      ))}
    </div>
  );
}

// --- dialogs

export function Dialog(props: { title: string; onClose: () => void; children: ComponentChildren; actions?: ComponentChildren }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const shown = dialog.current;
    shown?.showModal();
    return () => shown?.close();
  }, []);
  return (
    <dialog
      ref={dialog}
      aria-label={props.title}
      onCancel={(event: Event) => {
        event.preventDefault();
        props.onClose();
      }}
    >
      <h2>{props.title}</h2>
      {props.children}
      <div class="row end">{props.actions ?? <Button onClick={props.onClose}>Close</Button>}</div>
    </dialog>
  );
}

/** Where something scrolls, the keyboard must be able to as well. */
export function Scroll({ label, children, class: name }: { label: string; children: ComponentChildren; class?: string }) {
  return (
    <div class={`scroll ${name ?? ""}`} role="group" aria-label={label} tabIndex={0}>
      {children}
    </div>
  );
}
