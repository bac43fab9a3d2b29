// The shell: header, navigation, shortcuts, pages.
import { useComputed } from "@preact/signals";
import { render } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { login, needsToken, stored } from "./api";
import { Header } from "./header";
import { connect, connection, hello, status } from "./live";
import { Login } from "./login";
import { Bus } from "./pages/bus";
import { Images } from "./pages/images";
import { Instruments } from "./pages/instruments";
import { Overview } from "./pages/overview";
import { Plots } from "./pages/plots";
import { Sessions } from "./pages/sessions";
import { addressOf, followAddress, place } from "./route";
import { Help, helpOpen, Shortcuts } from "./shortcuts";
import { startState, warnings } from "./state";
import { Toasts } from "./ui";

const PAGES = [
  { id: "overview", title: "Overview", page: Overview, icon: "M3 3h7v9H3zM14 3h7v5h-7zM14 12h7v9h-7zM3 16h7v5H3z" },
  { id: "images", title: "Images", page: Images, icon: "M3 5h18v14H3zM3 16l5-5 4 4 3-3 6 6M15.5 9.5h.01" },
  { id: "plots", title: "Plots", page: Plots, icon: "M3 3v18h18M6 15l4-6 4 3 5-8" },
  { id: "instruments", title: "Instruments", page: Instruments, icon: "M4 6h16v12H4zM8 14a4 4 0 0 1 8 0M12 14l2-3" },
  { id: "sessions", title: "Sessions", page: Sessions, icon: "M12 3a9 9 0 1 0 0 18a9 9 0 1 0 0-18M12 9a3 3 0 1 0 0 6a3 3 0 1 0 0-6" },
  { id: "bus", title: "Bus", page: Bus, icon: "M3 7h18M3 12h18M3 17h18M7 4v6M17 9v6M10 14v6" },
] as const;

function shownPage() {
  return PAGES.find(({ id }) => id === place.value.view) ?? PAGES[0];
}

function Icon({ path }: { path: string }) {
  return (
    <svg viewBox="0 0 24 24" aria-hidden="true">
      <path d={path} />
    </svg>
  );
}

function Nav() {
  const worst = new Map<string, string>();
  for (const warning of warnings.value) if (!worst.has(warning.page)) worst.set(warning.page, warning.level);
  const shown = useComputed(() => shownPage().id);
  return (
    <nav aria-label="Pages">
      {PAGES.map(({ id, title, icon }) => (
        <a key={id} href={addressOf(id)} aria-current={shown.value === id ? "page" : undefined}>
          <Icon path={icon} />
          <span>{title}</span>
          {worst.has(id) && <i class={`dot ${worst.get(id)}`} role="img" aria-label="needs attention" />}
        </a>
      ))}
      <button type="button" class="plain nav-help" onClick={() => (helpOpen.value = true)} aria-label="Help and shortcuts">
        <kbd>?</kbd>
        <span>Help</span>
      </button>
    </nav>
  );
}

function Banner() {
  const gone = connection.value === "lost";
  const rigGone = connection.value === "live" && status.value?.rig === false;
  if (!gone && !rigGone) return null;
  return (
    <div class="banner" role="alert">
      {gone ? "No connection to the rig. What you see is old; trying again…" : "The bus does not answer. What you see is old."}
    </div>
  );
}

function Foot() {
  const state = status.value;
  const dropped = Object.values(state?.dropped ?? {}).reduce((sum, one) => sum + one, 0);
  return (
    <footer>
      <span>labwire {hello.value?.version}</span>
      <span title="Messages and pictures that this browser was too slow for; the rig itself is not touched by it">
        {dropped ? `${dropped} not shown here` : "nothing left out"}
      </span>
      {state && state.server_dropped + state.malformed > 0 && (
        <span>
          {state.server_dropped} dropped, {state.malformed} malformed at the server
        </span>
      )}
      <a href="/docs">HTTP API</a>
    </footer>
  );
}

function App() {
  const { id, page: Page, title } = shownPage();
  const open = place.value.view === id ? place.value.open : "";
  useEffect(() => {
    document.title = `${open || title} · ${hello.value?.rig ?? "labwire"}`;
  }, [title, open, hello.value]);
  const first = useRef(true);
  useEffect(() => {
    // What had the focus went with what was shown before: reading goes on where the page begins.
    if (!first.current && document.activeElement === document.body) document.getElementById("main")?.focus({ preventScroll: true });
    first.current = false;
  }, [id, open]);
  if (needsToken.value) return <Login onDone={connect} />;
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => skip(event)}>
        Skip to the page
      </a>
      <Header />
      <Banner />
      <Nav />
      <main id="main" tabIndex={-1} aria-label={title}>
        <h1 class="hidden">{title}</h1>
        <Page key={id} />
        <Foot />
      </main>
      <Shortcuts />
      <Help />
      <Toasts />
    </>
  );
}

function skip(event: Event): void {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

async function start(): Promise<void> {
  const theme = stored("theme");
  if (theme) document.documentElement.dataset.theme = theme;
  const token = /^#token=(.+)$/.exec(location.hash)?.[1];
  if (token) {
    history.replaceState(null, "", addressOf("overview"));
    await login(token).catch(() => (needsToken.value = true));
  }
  followAddress((from, to) => {
    if (from.view !== to.view || (to.view === "sessions" && from.open !== to.open)) scrollTo(0, 0);
  });
  const first = await fetch("/api/actors/list").catch(() => null);
  if (first?.status === 401) needsToken.value = true;
  else connect();
  startState();
  const root = document.getElementById("app");
  if (root) render(<App />, root);
}

void start();
