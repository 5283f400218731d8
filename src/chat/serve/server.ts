import apiScript from "./page/api.client.js" with { type: "text" };
import chat from "./page/chat.client.js" with { type: "text" };
import chats from "./page/chats.client.js" with { type: "text" };
import markdown from "./page/markdown.client.js" with { type: "text" };
import markup from "./page/page.html" with { type: "text" };
import style from "./page/style.css" with { type: "text" };
import { createHash } from "node:crypto";
import { isIP } from "node:net";
import { RandloraError } from "../../files/errors.ts";
import { toApiError } from "./answer.ts";
import { Api, IDLE_SECONDS, pickMethod } from "./api.ts";
import type { ApiParts, Call } from "./api-parts.ts";
import { Guard, type GuardOptions } from "./api-keys.ts";
import { Metrics } from "./metrics.ts";
import type { TrustedProxies } from "./proxy.ts";

/** What an answer that runs when the server is told to stop has to come to its end. */
export const GRACE_MS = 5000;
/** What the last bytes have to be taken. */
const FLUSH_MS = 1000;

export interface ServerOptions extends GuardOptions, Omit<ApiParts, "metrics"> {
  /** Proxies whose word on where a request comes from is taken. */
  readonly proxies?: TrustedProxies | undefined;
  /** 0: any free one. */
  readonly port: number;
  /** Told of every request, with the status of its answer. */
  readonly onRequest?: (line: string) => void;
}

type Fetch = (request: Request, server: Bun.Server<undefined>) => Response | Promise<Response>;

/** Begins to listen. @throws RandloraError `file` where it cannot */
function listening({ host, port }: Pick<ServerOptions, "host" | "port">, fetch: Fetch): Bun.Server<undefined> {
  try {
    return Bun.serve({
      hostname: host,
      port,
      development: false,
      // Outside of development Bun would share a port that another server has.
      reusePort: false,
      idleTimeout: IDLE_SECONDS,
      // Bun's own refusal has no body: ours comes first (body.ts).
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      fetch,
    });
  } catch (cause) {
    const message = `cannot listen on ${host}, port ${port}: ${refusalOf(cause, host, port)}`;
    const hint = "choose another --port (0 takes any that is free), and a --host that is an address of this machine";
    throw new RandloraError("file", message, hint, { cause });
  }
}

/** Finds out whether a server could listen, before a model is loaded for minutes. @throws RandloraError `file` */
export async function requireFreeAddress(address: Pick<ServerOptions, "host" | "port">): Promise<void> {
  await listening(address, () => new Response(undefined, { status: 503 })).stop(true);
}

/** The HTTP server: OpenAI's API, `/health`, and a chat page at `/`. */
export class ApiServer implements AsyncDisposable {
  readonly #server: Bun.Server<undefined>;
  readonly #options: ServerOptions;
  readonly #guard: Guard;
  readonly #api: Api;
  readonly #metrics = new Metrics();

  /** Begins to listen. @throws RandloraError `file` where it cannot */
  constructor(options: ServerOptions) {
    this.#options = options;
    this.#guard = new Guard(options);
    this.#api = new Api({ ...options, metrics: this.#metrics });
    this.#server = listening(options, (request, server) => this.#fetch(request, server));
  }

  /** Where it listens: `http://127.0.0.1:8080`. */
  get address(): string {
    return this.#server.url.origin;
  }

  /** Takes no more requests, lets the running answer end or cuts it, and closes every connection. */
  async stop(grace: number = GRACE_MS): Promise<void> {
    // New connections are refused from here on; requests on open ones are told why.
    const closed = this.#server.stop();
    await this.#options.engine.close(grace);
    this.#api[Symbol.dispose]();
    await Promise.race([closed, Bun.sleep(FLUSH_MS)]);
    await this.#server.stop(true);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop(0);
  }

  async #fetch(request: Request, server: Bun.Server<undefined>): Promise<Response> {
    const start = performance.now();
    const peer = server.requestIP(request)?.address ?? "";
    const address = this.#options.proxies?.clientOf(peer, request.headers) ?? peer;
    const path = pathOf(request.url);
    let response: Response;
    try {
      const setTimeout = (seconds: number): void => server.timeout(request, seconds);
      response = await this.#route(path, { request, address, setTimeout });
    } catch (error) {
      response = toApiError(error, this.#options.onFailure).response(path);
    }
    for (const [name, value] of Object.entries(this.#guard.corsHeaders(request))) response.headers.set(name, value);
    this.#metrics.countAnswer(response.status);
    const seconds = ((performance.now() - start) / 1000).toFixed(2);
    this.#options.onRequest?.(`${address} ${request.method} ${path} ${response.status} ${seconds} s`);
    return response;
  }

  /** As llama.cpp answers; for whoever restarts a server that has failed. @throws ApiError 503 */
  #health(): Response {
    this.#options.engine.check();
    return Response.json({ status: "ok" });
  }

  async #route(path: string, call: Omit<Call, "key">): Promise<Response> {
    const { request } = call;
    this.#guard.checkPage(request);
    if (request.method === "OPTIONS") return this.#guard.preflight(request);
    if (path === "/") return pickMethod(request, { GET: pageResponse })();
    if (path === "/health") return pickMethod(request, { GET: () => this.#health() })();
    const key = this.#guard.checkKey(request);
    return await this.#api.handle(path, { ...call, key });
  }
}

/** Why an address could not be taken. */
function refusalOf(cause: unknown, host: string, port: number): string {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  // Of a name that nobody knows Bun says whatever the last system call failed with.
  if (isIP(host) === 0 && host !== "localhost") {
    return `this machine has no such address${port === 0 ? "" : ", or the port is taken or not permitted"}`;
  }
  if (code === "EADDRINUSE" && port !== 0) return "another program listens there";
  if (code === "EACCES") return "permission denied";
  if (code === "EADDRNOTAVAIL") return "this machine has no such address";
  return cause instanceof Error ? cause.message : String(cause);
}

/** Without a Host header Bun knows no more than the path; with one that is none (`[`) what it gives is no URL. */
function pathOf(url: string): string {
  return URL.parse(url, "http://localhost")?.pathname ?? "";
}

/*
 * One document, so that it needs nothing else. What stands in it is hashed: only that may run, and it may talk to nobody
 * but this server (Content Security Policy, level 3): text of a model that found its way into the markup could do nothing.
 */
const SCRIPT = [markdown, chats, apiScript, chat].join("\n");
// Bun's types take every import of HTML for a bundle; with `type: "text"` it is the text.
const PAGE = String(markup)
  .replace("<style></style>", () => `<style>${style}</style>`)
  .replace("<script></script>", () => `<script>${SCRIPT}</script>`);

const POLICY = [
  "default-src 'none'",
  `script-src ${hashOf(SCRIPT)}`,
  `style-src ${hashOf(style)}`,
  "img-src data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** The chat page. */
function pageResponse(): Response {
  return new Response(PAGE, {
    headers: {
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": POLICY,
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
      "cache-control": "no-cache",
    },
  });
}

function hashOf(text: string): string {
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}
