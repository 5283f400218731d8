import { answerFailure, connectionFailure, HubFailure, strangeAnswer, type Subject } from "./failure.ts";
import type { HubSettings } from "./settings.ts";

/** What every request shares. */
export interface Connection {
  readonly settings: HubSettings;
  /** The user's wish to stop; requests and waits end at once with its reason. */
  readonly signal: AbortSignal;
  /** Told what the user should know meanwhile. */
  readonly warn?: ((line: string) => void) | undefined;
}

/** The beginning of an answer. */
interface Answer {
  readonly response: Response;
  readonly watchdog: Watchdog;
}

/** Repetitions of a request that gained nothing before it is given up. */
export const MAX_RETRIES = 5;

/**
 * One GET. The token goes to the endpoint only: `fetch` drops `Authorization` when a redirect leads to another origin
 * (Fetch standard, "HTTP-redirect fetch" step 13), and signed CDN addresses refuse requests that carry one.
 *
 * @returns the answer, its status a success; the body is not read yet and `heard` must be called for every part of it
 * @throws {HubFailure} for any other answer, and for none
 */
export async function get(
  connection: Connection,
  url: string,
  subject: Subject,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  const { settings, signal } = connection;
  signal.throwIfAborted();
  const watchdog = new Watchdog(settings.timeoutMs);
  try {
    const response = await fetch(url, {
      headers: {
        "User-Agent": "randlora",
        // Compressed text has neither a length nor ranges that fit the file.
        "Accept-Encoding": "identity",
        ...(settings.token !== undefined &&
          isOn(settings.endpoint, url) && { Authorization: `Bearer ${settings.token}` }),
        ...headers,
      },
      signal: AbortSignal.any([signal, watchdog.signal]),
    });
    watchdog.heard();
    if (response.ok) return { response, watchdog };
    await response.body?.cancel();
    throw answerFailure(response, subject, settings);
  } catch (thrown) {
    watchdog.stop();
    signal.throwIfAborted();
    throw connectionFailure(thrown, subject, settings);
  }
}

/** Of all that a question is answered with, page by page: a hundred times the largest repository's list. */
export const MAX_ANSWER_BYTES = 64 * 2 ** 20;
/** And how long that may take, in times of allowed silence: ten minutes. */
export const MAX_SILENCES = 60;

/** One answer of the Hub. */
export interface JsonAnswer {
  readonly json: unknown;
  /** The address of the next page, where there is one (RFC 8288, `rel="next"`). */
  readonly next: string | undefined;
}

/**
 * Asks the Hub for JSON, page by page: answers are read whole, within limits that all pages of one question share;
 * temporary failures are repeated.
 *
 * @returns what gets one page
 */
export function question(
  connection: Connection,
  subject: Subject,
  retries = MAX_RETRIES,
  silences = MAX_SILENCES,
): (url: string) => Promise<JsonAnswer> {
  const { settings, signal } = connection;
  const end = performance.now() + silences * settings.timeoutMs;
  let room = MAX_ANSWER_BYTES;
  const read = async ({ response, watchdog }: Answer): Promise<string> => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of response.body ?? []) {
      watchdog.heard();
      room -= chunk.length;
      if (room < 0) throw strangeAnswer(`more than ${MAX_ANSWER_BYTES} bytes about ${subject.repo}`, settings);
      if (performance.now() > end) throw strangeAnswer(`no end of its answer about ${subject.repo}`, settings);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString();
  };
  return async (url) => {
    const { text, link } = await withRetries(connection, retries, async () => {
      const answer = await get(connection, url, subject, { Accept: "application/json" });
      try {
        return { text: await read(answer), link: answer.response.headers.get("Link") };
      } catch (thrown) {
        signal.throwIfAborted();
        throw connectionFailure(thrown, subject, settings);
      } finally {
        answer.watchdog.stop();
      }
    });
    const next = link === null ? undefined : /<([^<>]*)>\s*;\s*rel="?next"?/.exec(link)?.[1];
    if (next !== undefined && !isOn(settings.endpoint, next)) {
      throw strangeAnswer(`its list about ${subject.repo} goes on at another server`, settings);
    }
    try {
      return { json: JSON.parse(text), next };
    } catch {
      throw strangeAnswer(`no JSON about ${subject.repo}`, settings);
    }
  };
}

/** Repeats `attempt` while it fails temporarily, at most `retries` times, waiting longer each time. */
async function withRetries<T>(connection: Connection, retries: number, attempt: () => Promise<T>): Promise<T> {
  for (let failed = 0; ; failed++) {
    try {
      return await attempt();
    } catch (thrown) {
      if (!isTemporary(thrown) || failed >= retries) throw thrown;
      await pause(connection, failed, thrown);
    }
  }
}

/** Waits before repetition number `failed` (from 0): as long as the server asked, else 1, 2, 4, 8, 8… delays, ±25 %. */
export async function pause({ settings, signal }: Connection, failed: number, failure: HubFailure): Promise<void> {
  // Spread out, so that many clients do not come back to a struggling server in step.
  const spread = 0.75 + Math.random() / 2;
  const own = settings.retryDelayMs * 2 ** Math.min(failed, 3) * spread;
  await sleep(Math.max(failure.retryAfterMs, own), signal);
}

/** Waits unless `signal` ends the wait, by throwing its reason. */
export async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const { promise, resolve } = Promise.withResolvers<void>();
  const wake = (): void => resolve();
  const timer = setTimeout(wake, ms);
  signal.addEventListener("abort", wake);
  await promise;
  clearTimeout(timer);
  signal.removeEventListener("abort", wake);
  signal.throwIfAborted();
}

/** Aborts a transfer that has been silent for too long. */
class Watchdog {
  readonly #controller = new AbortController();
  readonly #timer: ReturnType<typeof setTimeout>;

  constructor(timeoutMs: number) {
    this.#timer = setTimeout(
      () => this.#controller.abort(new DOMException("The connection fell silent.", "TimeoutError")),
      timeoutMs,
    );
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Something arrived: the time begins anew. */
  heard(): void {
    this.#timer.refresh();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}

export function isTemporary(thrown: unknown): thrown is HubFailure {
  return thrown instanceof HubFailure && thrown.temporary;
}

/** Whether `url` belongs to the server at `endpoint`. */
function isOn(endpoint: string, url: string): boolean {
  return URL.canParse(endpoint) && URL.canParse(url) && new URL(endpoint).origin === new URL(url).origin;
}
