import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { commitOf, entryOf, type FakeFiles, gitHash, sha256 } from "./content.ts";

/*
 * A server that speaks the Hub's protocol as huggingface_hub 2.4 uses it: commits and trees
 * under /api, files under /resolve. Large files are sent from a second server with another origin, as from the CDN.
 */

/** A repository: branches and tags by name, each a set of files. */
export interface FakeRepository {
  readonly revisions: Readonly<Record<string, FakeFiles>>;
  /** Only requests with this token see it; others are told nothing of it. */
  readonly privateTo?: string;
  /** Everybody sees it, only requests with this token get its files. */
  readonly gatedTo?: string;
}

/** What a test may do to an answer before it is given. */
export interface Fault {
  /** Only requests whose `METHOD /path` matches. */
  readonly match: RegExp;
  /** How many of them; all by default. */
  times?: number;
  /** Answer with this status instead. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Send this many bytes of the body, then break the connection… */
  readonly dropAfter?: number;
  /** …or say nothing more, … */
  readonly stallAfter?: number;
  /** …or end as if all were well. */
  readonly endAfter?: number;
  /** Send the body in parts of so many bytes, a few milliseconds apart. */
  readonly trickle?: number;
  /** Send this body. */
  readonly body?: string | Uint8Array;
  /** Take no notice of Range. */
  readonly noRanges?: boolean;
  /** Do this first. */
  readonly before?: () => Promise<void>;
}

export interface SeenRequest {
  /** `METHOD /path`, CDN requests as `METHOD cdn:/path`. */
  readonly what: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}

export class FakeHub implements AsyncDisposable {
  readonly repositories = new Map<string, FakeRepository>();
  readonly seen: SeenRequest[] = [];
  readonly faults: Fault[] = [];
  /** Entries a page of a tree. */
  pageSize = 1000;
  #hub: Server;
  #cdn: Server;
  #contents = new Map<string, Uint8Array>();

  private constructor() {
    this.#hub = createServer((request, response) => void this.#serve("", request, response));
    this.#cdn = createServer((request, response) => void this.#serve("cdn:", request, response));
  }

  static async start(repositories: Readonly<Record<string, FakeRepository>> = {}): Promise<FakeHub> {
    const hub = new FakeHub();
    for (const [name, repository] of Object.entries(repositories)) hub.repositories.set(name, repository);
    await Promise.all([listen(hub.#hub), listen(hub.#cdn)]);
    return hub;
  }

  get url(): string {
    return addressOf(this.#hub);
  }

  /** Requests seen since the last call. */
  take(): SeenRequest[] {
    return this.seen.splice(0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([close(this.#hub), close(this.#cdn)]);
  }

  async #serve(prefix: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://127.0.0.1");
    const what = `${request.method ?? ""} ${prefix}${decodeURIComponent(url.pathname)}`;
    const { authorization, range } = request.headers;
    this.seen.push({ what, range, authorization });
    const fault = this.faults.find((fault) => fault.match.test(what) && (fault.times ?? 1) > 0);
    if (fault?.times !== undefined) fault.times--;
    await fault?.before?.();
    const answer =
      fault?.status === undefined
        ? prefix === ""
          ? this.#answer(request, url)
          : this.#fromCdn(url)
        : { status: fault.status, headers: {}, body: "" };
    send(request, response, { ...answer, headers: { ...answer.headers, ...fault?.headers } }, fault);
  }

  #fromCdn(url: URL): Answer {
    const body = this.#contents.get(url.pathname.slice(1));
    return body === undefined ? failure(404, "") : { status: 200, headers: {}, body, ranges: true };
  }

  #answer(request: IncomingMessage, url: URL): Answer {
    const path = url.pathname.split("/").slice(1).map(decodeURIComponent);
    const isApi = path[0] === "api";
    const [org = "", name = "", verb = "", ...rest] = isApi ? path.slice(2) : path;
    const repo = `${org}/${name}`;
    const repository = this.repositories.get(repo);
    const token = request.headers.authorization?.replace("Bearer ", "");
    if (token === "hf_expired") return failure(401, "", "Invalid credentials in Authorization header");
    if (repository === undefined || (repository.privateTo !== undefined && repository.privateTo !== token)) {
      return failure(token === undefined ? 401 : 404, "RepoNotFound", "Repository not found");
    }
    const found = this.#revision(repo, rest);
    if (found === undefined) return failure(404, "RevisionNotFound", `Invalid rev id: ${rest[0] ?? ""}`);
    const { commit, files, after } = found;
    if (isApi && verb === "revision") {
      const siblings = Object.keys(files).map((rfilename) => ({ rfilename }));
      return json({ _id: "1", id: repo, modelId: repo, sha: commit, private: false, gated: false, siblings, tags: [] });
    }
    if (isApi && verb === "tree") return this.#tree(url, files);
    if (verb !== "resolve") return failure(404, "");
    if (repository.gatedTo !== undefined && repository.gatedTo !== token) {
      return failure(token === undefined ? 401 : 403, "GatedRepo", `Access to model ${repo} is restricted.`);
    }
    const content = files[after.join("/")];
    if (content === undefined) return failure(404, "EntryNotFound", "Entry not found", { "X-Repo-Commit": commit });
    const headers = { "X-Repo-Commit": commit };
    if (typeof content === "string") {
      const body = Buffer.from(content);
      return { status: 200, headers: { ...headers, ETag: `"${gitHash(body)}"` }, body, ranges: true };
    }
    const oid = sha256(content);
    this.#contents.set(oid, content);
    const linked = { "X-Linked-Etag": `"${oid}"`, "X-Linked-Size": String(content.length) };
    const Location = `${addressOf(this.#cdn)}/${oid}`;
    return { status: 302, headers: { ...headers, ...linked, Location }, body: "" };
  }

  /** A branch may have slashes: encoded as one part, or not. */
  #revision(repo: string, parts: readonly string[]) {
    const revisions = this.repositories.get(repo)?.revisions ?? {};
    for (const [name, files] of Object.entries(revisions)) {
      const commit = commitOf(repo, files);
      for (const alias of [name, commit]) {
        const length = parts[0] === alias ? 1 : alias.split("/").length;
        if (parts.slice(0, length).join("/") === alias) return { commit, files, after: parts.slice(length) };
      }
    }
    return undefined;
  }

  #tree(url: URL, files: FakeFiles): Answer {
    const folders = new Set(
      Object.keys(files).flatMap((path) => (path.includes("/") ? [path.split("/")[0] ?? ""] : [])),
    );
    const entries = [
      ...[...folders].map((path) => ({ type: "directory", oid: "0".repeat(40), size: 0, path })),
      ...Object.entries(files).map(([path, content]) => entryOf(path, content)),
    ];
    const start = Number(url.searchParams.get("cursor") ?? 0);
    const end = start + this.pageSize;
    url.searchParams.set("cursor", String(end));
    const next = `<${this.url}${url.pathname}${url.search}>; rel="next"`;
    return json(entries.slice(start, end), end < entries.length ? { Link: next } : {});
  }
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array;
  readonly ranges?: boolean;
}

function json(value: unknown, headers: Readonly<Record<string, string>> = {}): Answer {
  return { status: 200, headers: { "Content-Type": "application/json", ...headers }, body: JSON.stringify(value) };
}

function failure(status: number, code: string, message = "", more: Readonly<Record<string, string>> = {}): Answer {
  const headers = {
    ...(code !== "" && { "X-Error-Code": code }),
    ...(message !== "" && { "X-Error-Message": message }),
  };
  return { status, headers: { ...headers, ...more }, body: "" };
}

function send(request: IncomingMessage, response: ServerResponse, answer: Answer, fault: Fault | undefined): void {
  const whole = Buffer.from(fault?.body ?? answer.body);
  const range =
    answer.ranges === true && fault?.noRanges !== true ? /^bytes=(\d+)-$/.exec(request.headers.range ?? "") : null;
  const start = Number(range?.[1] ?? 0);
  const body = whole.subarray(start);
  const partial = { "Content-Range": `bytes ${start}-${whole.length - 1}/${whole.length}` };
  const cut = fault?.dropAfter ?? fault?.stallAfter ?? fault?.endAfter;
  response.writeHead(range === null ? answer.status : 206, {
    // Without a length the client cannot see that a body ended too early.
    ...(fault?.endAfter === undefined && { "Content-Length": body.length }),
    ...(range !== null && partial),
    ...answer.headers,
  });
  if (request.method === "HEAD") {
    response.end();
  } else if (fault?.trickle !== undefined) {
    void trickle(response, body, fault.trickle);
  } else if (cut === undefined || cut >= body.length) {
    response.end(body);
  } else {
    response.write(body.subarray(0, cut), () => {
      // A moment for the bytes to arrive before the connection goes.
      if (fault?.dropAfter !== undefined) setTimeout(() => response.destroy(), 20);
      if (fault?.endAfter !== undefined) response.end();
    });
  }
}

async function trickle(response: ServerResponse, body: Uint8Array, count: number): Promise<void> {
  for (let at = 0; at < body.length && !response.destroyed; at += count) {
    response.write(body.subarray(at, at + count));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  response.end();
}

async function listen(server: Server): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, "127.0.0.1", () => resolve());
  await promise;
}

async function close(server: Server): Promise<void> {
  server.closeAllConnections();
  const { promise, resolve } = Promise.withResolvers<void>();
  server.close(() => resolve());
  await promise;
}

function addressOf(server: Server): string {
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server does not listen");
  return `http://127.0.0.1:${address.port}`;
}
