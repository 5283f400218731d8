import * as v from "valibot";
import { RandloraError } from "../../files/errors.ts";
import { brief, oneLine } from "../../files/failure.ts";
import { readJson } from "../../files/read-whole.ts";
import { ApiError } from "./api-error.ts";
import { optional } from "./schemas.ts";
import { createHash, timingSafeEqual } from "node:crypto";
import { isIP } from "node:net";
import { hostname } from "node:os";
import { isLoopback, withoutBrackets } from "../../files/hub/loopback.ts";

const MOST_BYTES = 2 ** 20;
const HINT =
  'it must hold [{"key": "…", "name": "…", "requests_per_minute": 60, "tokens_per_minute": 10000, "parallel": 2}, …]';

const atLeastOne = v.pipe(v.number(), v.safeInteger(), v.minValue(1));
const File = v.array(
  v.strictObject({
    key: v.pipe(v.string(), v.minLength(8), v.maxLength(1000)),
    name: v.pipe(v.string(), v.minLength(1), v.maxLength(100)),
    requests_per_minute: optional(atLeastOne),
    tokens_per_minute: optional(atLeastOne),
    parallel: optional(atLeastOne),
  }),
);

/** A key that clients may have, and what they may do with it; undefined: without a limit. */
export interface ApiKey {
  readonly key: string;
  /** Who has it, for the queue and the log. */
  readonly name: string;
  readonly requestsPerMinute?: number | undefined;
  /** Of prompts and answers. */
  readonly tokensPerMinute?: number | undefined;
  /** Answers at a time: a request has `n` for each prompt. */
  readonly parallel?: number | undefined;
}

/** Reads `--api-keys FILE`. @throws RandloraError `file`, `format` */
export async function readApiKeys(path: string): Promise<readonly ApiKey[]> {
  const result = v.safeParse(File, await readJson(path, MOST_BYTES, HINT), { abortEarly: true });
  if (!result.success) {
    const [issue] = result.issues;
    throw new RandloraError("format", `${oneLine(path)}: ${v.getDotPath(issue) ?? ""}: ${brief(issue.message)}`, HINT);
  }
  const keys = result.output;
  for (const field of ["key", "name"] as const) {
    if (new Set(keys.map((one) => one[field])).size === keys.length && keys.length > 0) continue;
    throw new RandloraError("format", `${oneLine(path)}: every ${field} must be there once`, HINT);
  }
  return keys.map(({ key, name, requests_per_minute, tokens_per_minute, parallel }) => ({
    key,
    name,
    requestsPerMinute: requests_per_minute,
    tokensPerMinute: tokens_per_minute,
    parallel,
  }));
}

/** What a key's requests have used: an amount a minute, which fills up evenly. */
class Bucket {
  readonly #most: number;
  #left: number;
  #at: number;

  constructor(most: number, now: number) {
    this.#most = most;
    this.#left = most;
    this.#at = now;
  }

  /** Seconds until `amount` may be taken; 0: now. */
  wait(amount: number, now: number): number {
    this.#left = Math.min(this.#most, this.#left + ((now - this.#at) / 60_000) * this.#most);
    this.#at = now;
    return Math.max(0, ((amount - this.#left) / this.#most) * 60);
  }

  /** More may be taken than is left: later requests wait for it. */
  take(amount: number): void {
    this.#left -= amount;
  }
}

/** A request that has begun. */
export interface KeyedRequest {
  /** Counts it as so many answers at a time. @throws ApiError 429 where that is too many now, 400 where it always is */
  counts(texts: number): void;
  /** To be called when it has ended, with the tokens of its prompt and its answer; once more changes nothing. */
  end(tokens: number): void;
}

/** Holds a key's requests to its limits. */
export class KeyLimits {
  readonly name: string;
  readonly #key: ApiKey;
  readonly #now: () => number;
  readonly #requests: Bucket | undefined;
  readonly #tokens: Bucket | undefined;
  #running = 0;

  /** @param now milliseconds of a clock that never goes back */
  constructor(key: ApiKey, now: () => number = () => performance.now()) {
    const { name, requestsPerMinute, tokensPerMinute } = key;
    this.name = name;
    this.#key = key;
    this.#now = now;
    this.#requests = requestsPerMinute === undefined ? undefined : new Bucket(requestsPerMinute, now());
    this.#tokens = tokensPerMinute === undefined ? undefined : new Bucket(tokensPerMinute, now());
  }

  /**
   * Lets a request begin.
   * @throws ApiError 429 where a limit is reached, with the time to wait
   */
  begin(): KeyedRequest {
    const now = this.#now();
    this.#checkRoom(1);
    const wait = this.#requests?.wait(1, now) ?? 0;
    if (wait > 0) throw limited(`${this.#key.requestsPerMinute} requests a minute`, wait);
    const recovery = this.#tokens?.wait(1, now) ?? 0;
    if (recovery > 0) throw limited(`${this.#key.tokensPerMinute} tokens a minute`, recovery);
    this.#requests?.take(1);
    this.#running++;
    let counted = 1;
    return {
      counts: (texts) => {
        const { parallel = Infinity } = this.#key;
        if (texts > parallel)
          throw new ApiError(
            400,
            `the request asks for ${texts} answers, and this API key allows ${parallel} at a time`,
          );
        this.#checkRoom(texts - counted);
        this.#running += texts - counted;
        counted = texts;
      },
      end: (tokens) => {
        if (counted === 0) return;
        this.#running -= counted;
        counted = 0;
        this.#tokens?.wait(0, this.#now());
        this.#tokens?.take(tokens);
      },
    };
  }

  /** @throws ApiError 429 where so many answers more are too many */
  #checkRoom(more: number): void {
    const { parallel = Infinity } = this.#key;
    if (more > 0 && this.#running + more > parallel) throw limited(`${parallel} requests at a time, n counted`, 1);
  }
}

function limited(what: string, seconds: number): ApiError {
  return new ApiError(429, `this API key is for ${what}: try again later`, {
    code: "rate_limit_exceeded",
    headers: { "retry-after": String(Math.ceil(seconds)) },
  });
}

/** Who may ask. */
export interface GuardOptions {
  /** `--api-key`. */
  readonly apiKey: string | undefined;
  /** `--api-keys`: further ones, with limits. */
  readonly apiKeys?: readonly ApiKey[] | undefined;
  /** `--host`, a name under which this server may be known. */
  readonly host: string;
}

/**
 * Decides who may use the API. With a key, whoever has it. Without one, programs on machines that can reach the port, but
 * no foreign web page: a browser says which page asks (Origin), and a page that gave its own name our address (DNS
 * rebinding) gives itself away by that name (Host).
 */
export class Guard {
  readonly #keys: readonly { readonly digest: Buffer; readonly limits: KeyLimits | undefined }[];
  readonly #names: ReadonlySet<string>;

  constructor({ apiKey, apiKeys = [], host }: GuardOptions) {
    const own = apiKey === undefined ? [] : [{ digest: digest(apiKey), limits: undefined }];
    this.#keys = [...own, ...apiKeys.map((key) => ({ digest: digest(key.key), limits: new KeyLimits(key) }))];
    const machine = hostname().toLowerCase();
    this.#names = new Set(["localhost", host.toLowerCase(), machine, `${machine}.local`]);
  }

  /** Refuses web pages from elsewhere. @throws ApiError 403 */
  checkPage(request: Request): void {
    if (this.#keys.length > 0) return;
    const host = request.headers.get("host");
    if (host !== null && !this.#isOurs(hostOf(`http://${host}`))) {
      throw new ApiError(
        403,
        `this server is not known as ${host.slice(0, 100)}: use its address, or start it with a key`,
      );
    }
    const origin = request.headers.get("origin");
    if (origin !== null && !this.#isAllowed(origin, host)) {
      throw new ApiError(
        403,
        `pages of ${origin.slice(0, 100)} may not use this server unless it is started with a key`,
      );
    }
  }

  /** Refuses whoever has no key. @returns the key's limits, where it has any. @throws ApiError 401 */
  checkKey(request: Request): KeyLimits | undefined {
    if (this.#keys.length === 0) return undefined;
    const given = /^Bearer\s+(.*)$/i.exec(request.headers.get("authorization") ?? "")?.[1];
    // Digests have one length, and all are looked at, so that it takes the same time whatever is given.
    const wanted = digest(given?.trim() ?? "");
    const [found] = this.#keys.filter((key) => timingSafeEqual(key.digest, wanted));
    if (given !== undefined && found !== undefined) return found.limits;
    const message =
      given === undefined ? "no API key: send Authorization: Bearer KEY" : "the API key is not the right one";
    throw new ApiError(401, message, { code: "invalid_api_key", headers: { "www-authenticate": "Bearer" } });
  }

  /** Headers that let an allowed page of another origin read the answer (CORS, fetch standard, section 3.2). */
  corsHeaders(request: Request): Readonly<Record<string, string>> {
    const origin = request.headers.get("origin");
    if (origin === null) return {};
    if (this.#keys.length === 0 && !this.#isAllowed(origin, request.headers.get("host"))) return {};
    return { "access-control-allow-origin": origin, vary: "Origin" };
  }

  /** The answer to a browser that asks beforehand. */
  preflight(request: Request): Response {
    const wanted = request.headers.get("access-control-request-headers") ?? "authorization, content-type";
    const headers = {
      "access-control-allow-methods": "GET, POST, OPTIONS",
      "access-control-allow-headers": wanted,
      "access-control-max-age": "600",
    };
    return new Response(null, { status: 204, headers });
  }

  #isOurs(name: string | undefined): boolean {
    if (name === undefined) return false;
    return this.#names.has(name) || name.endsWith(".localhost") || isIP(withoutBrackets(name)) !== 0;
  }

  /** The page that we serve ourselves, and pages on this machine. */
  #isAllowed(origin: string, host: string | null): boolean {
    if (host !== null && origin.replace(/^https?:\/\//, "") === host) return true;
    const name = hostOf(origin);
    return name !== undefined && isLoopback(name);
  }
}

function hostOf(origin: string): string | undefined {
  return URL.parse(origin)?.hostname.toLowerCase();
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
