// Asks for the token, beyond loopback.
import { useSignal } from "@preact/signals";
import { login, Problem } from "./api";

export function Login({ onDone }: { onDone: () => void }) {
  const token = useSignal("");
  const wrong = useSignal("");
  async function enter(event: Event): Promise<void> {
    event.preventDefault();
    try {
      await login(token.value.trim());
      onDone();
    } catch (error) {
      wrong.value = error instanceof Problem ? error.message : String(error);
    }
  }
  return (
    <main class="login">
      <form class="card" onSubmit={(event) => void enter(event)}>
        <h1>labwire</h1>
        <p>This rig asks for its token. On its computer, <code>labwire run</code> names the file that holds it.</p>
        <label class="field">
          <span>Token</span>
          <input
            type="password"
            autocomplete="current-password"
            value={token.value}
            onInput={(event) => (token.value = event.currentTarget.value)}
          />
        </label>
        {wrong.value && (
          <p class="error" role="alert">
            {wrong.value}
          </p>
        )}
        <button type="submit" class="primary" disabled={!token.value}>
          Enter
        </button>
      </form>
    </main>
  );
}
