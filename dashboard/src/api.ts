// Requests to the HTTP API. Every failure is a Problem: code, text, data.
import { signal } from "@preact/signals";

export class Problem extends Error {
  constructor(
    readonly code: string,
    detail: string,
    readonly status: number,
    readonly data: Record<string, unknown> = {},
  ) {
    super(detail);
  }
}

/** True once the server has asked for the token. */
export const needsToken = signal(false);

/** The name that the log shows for what is done here. */
export const userName = signal(stored("name"));

export function stored(key: string): string {
  try {
    return localStorage.getItem(`labwire.${key}`) ?? "";
  } catch {
    return "";
  }
}

export function store(key: string, value: string): void {
  try {
    localStorage.setItem(`labwire.${key}`, value);
  } catch {
    // a private window keeps nothing
  }
}

async function request<T>(method: string, path: string, body?: unknown): Promise<T> {
  const headers: Record<string, string> = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (userName.value) headers["X-Labwire-User"] = userName.value.replace(/[^\x20-\x7e]/g, "?");
  let response: Response;
  try {
    response = await fetch(path, { method, headers, body: body === undefined ? null : JSON.stringify(body) });
  } catch {
    throw new Problem("Offline", "the rig's web server does not answer", 0);
  }
  if (response.status === 401) needsToken.value = true;
  const text = await response.text();
  let reply: unknown;
  try {
    reply = text ? JSON.parse(text) : null;
  } catch {
    throw new Problem("Unreadable", `${path}: the answer is no JSON`, response.status);
  }
  if (!response.ok) {
    const problem = reply as { code?: string; detail?: string; data?: Record<string, unknown> };
    throw new Problem(problem.code ?? "Problem", problem.detail ?? response.statusText, response.status, problem.data);
  }
  return reply as T;
}

/** Ask for something that changes nothing: `look("actors.list")`. */
export function look<T>(operation: string, query: Record<string, string> = {}): Promise<T> {
  const text = new URLSearchParams(query).toString();
  return request<T>("GET", `/api/${operation.replace(".", "/")}${text ? `?${text}` : ""}`);
}

/** Look at something that is no operation: `get("session/overview", {session})`. */
export function get<T>(path: string, query: Record<string, string>): Promise<T> {
  return request<T>("GET", `/api/${path}?${new URLSearchParams(query)}`);
}

/** Call an operation that changes the rig: `call("record.start", {name: "pilot"})`. */
export function call<T>(operation: string, body: unknown = {}): Promise<T> {
  return request<T>("POST", `/api/${operation.replace(".", "/")}`, body);
}

export function notify(subject: string, fields: Record<string, unknown> = {}): Promise<unknown> {
  return request("POST", "/api/notify", { subject, fields });
}

export function publish(topic: string, payload: Record<string, unknown>): Promise<unknown> {
  return request("POST", "/api/publish", { topic, payload });
}

export async function login(token: string): Promise<void> {
  await request("POST", "/api/login", { token });
  needsToken.value = false;
}

export interface Job<P = unknown, R = unknown> {
  id: string;
  operation: string;
  state: "running" | "done" | "failed" | "cancelled";
  /** Progress reports so far. */
  reports: number;
  progress: P | null;
  result: R | null;
  failure: { code: string; detail: string } | null;
  duration_s: number;
}

/** Cancel work when the page goes: nobody waits for the answer. */
export function cancelJob(job: string): void {
  void fetch(`/api/jobs/${job}/cancel`, { method: "POST", keepalive: true }).catch(() => undefined);
}

/** Run long work to its end; `onProgress` sees each state. Cancel with the signal. */
export async function runJob<P, R>(
  operation: string,
  body: unknown,
  onProgress: (job: Job<P, R>) => void,
  abort: AbortSignal,
): Promise<R> {
  let job = await call<Job<P, R>>(operation, body);
  let cancelled = false;
  while (job.state === "running") {
    onProgress(job);
    if (abort.aborted && !cancelled) {
      cancelled = true;
      await request("POST", `/api/jobs/${job.id}/cancel`);
    }
    await new Promise((done) => setTimeout(done, 200));
    job = await request<Job<P, R>>("GET", `/api/jobs/${job.id}`);
  }
  onProgress(job);
  if (job.state === "done") return job.result as R;
  throw new Problem(job.failure?.code ?? job.state, job.failure?.detail ?? job.state, 0);
}

/** Which operations this rig's server knows, with their schemas. */
export interface OpenApi {
  paths: Record<string, Record<string, { operationId: string }>>;
}

let document_: Promise<OpenApi> | null = null;

export async function knows(operation: string): Promise<boolean> {
  document_ ??= request<OpenApi>("GET", "/openapi.json").catch((error: unknown) => {
    document_ = null;
    throw error;
  });
  try {
    return `/api/${operation.replace(".", "/")}` in (await document_).paths;
  } catch {
    return false;
  }
}
