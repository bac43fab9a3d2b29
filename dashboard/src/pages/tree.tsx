// Any value, to look into.
const MOST = 100;

export function Tree({ value, name = "", depth = 0 }: { value: unknown; name?: string; depth?: number }) {
  const label = name && <span class="key">{name}</span>;
  if (value === null || typeof value !== "object")
    return (
      <div class="leaf">
        {label} <span class={typeof value}>{value === null ? "–" : String(value)}</span>
      </div>
    );
  const entries = Object.entries(value);
  const size = Array.isArray(value) ? `[${entries.length}]` : `{${entries.length}}`;
  const inside = entries.slice(0, MOST).map(([key, inner]) => <Tree key={key} name={key} value={inner} depth={depth + 1} />);
  if (!name) return <div class="json">{entries.length ? inside : <span class="muted">empty</span>}</div>;
  return (
    <details open={depth < 2 && entries.length <= 4}>
      <summary>
        {label} <span class="muted">{size}</span>
      </summary>
      {inside}
      {entries.length > MOST && <p class="muted">and {entries.length - MOST} more</p>}
    </details>
  );
}
