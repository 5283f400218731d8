import { createHash, timingSafeEqual } from "node:crypto";
import { isIP } from "node:net";
import { hostname } from "node:os";
import { isLoopback, withoutBrackets } from "../../files/hub/loopback.ts";
import { ApiError } from "./api-error.ts";
import { type ApiKey, KeyLimits } from "./api-keys.ts";

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
