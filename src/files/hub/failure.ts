import { RandloraError } from "../errors.ts";
import { systemCode } from "../failure.ts";
import type { HubSettings } from "./settings.ts";

/**
 * Why the Hub gave nothing:
 * - `unreachable`: no connection at all; asking again at once is pointless
 * - `interrupted`: the connection broke, fell silent, or ended too early; try again
 * - `busy`: the server says to come back later (408, 429, 5xx)
 * - `denied`: a token is missing, wrong, or not entitled
 * - `missing`: no such repository (or a private one: the Hub does not tell them apart)
 * - `absent`: the repository is there, the revision or the file is not
 * - `answer`: something that a Hub would not say
 */
export type HubFailureKind = "unreachable" | "interrupted" | "busy" | "denied" | "missing" | "absent" | "answer";

/** A request to the Hub that failed. The code is always "file": for the user it is a file that could not be had. */
export class HubFailure extends RandloraError {
  readonly kind: HubFailureKind;
  /** How long the server asked us to wait; 0 when it did not. */
  readonly retryAfterMs: number;

  constructor(
    kind: HubFailureKind,
    message: string,
    hint: string,
    more: { cause?: unknown; retryAfterMs?: number } = {},
  ) {
    super("file", message, hint, { cause: more.cause });
    this.kind = kind;
    this.retryAfterMs = more.retryAfterMs ?? 0;
  }

  /** Whether the same request may succeed a little later. */
  get temporary(): boolean {
    return this.kind === "interrupted" || this.kind === "busy";
  }
}

/** What a request was for, so that its failure can be told in the user's words. */
export interface Subject {
  readonly repo: string;
  readonly revision: string;
  /** The file asked for; undefined when the question was about the repository. */
  readonly file?: string;
}

const MAX_RETRY_AFTER_S = 120;

/**
 * The failure behind an answer that is not a success. The Hub names its reason in `X-Error-Code` (huggingface_hub,
 * `utils/_http.py`).
 */
export function answerFailure(response: Response, subject: Subject, settings: HubSettings): HubFailure {
  const { repo, revision, file } = subject;
  const { status, headers } = response;
  const reason = headers.get("X-Error-Code") ?? "";
  const said = headers.get("X-Error-Message") ?? "";
  const host = hostOf(settings.endpoint);
  const page = `${settings.endpoint}/${repo}`;

  if (status === 408 || status === 429 || status >= 500) {
    const seconds = Number(headers.get("Retry-After"));
    const retryAfterMs = seconds > 0 ? Math.min(seconds, MAX_RETRY_AFTER_S) * 1000 : 0;
    const cause = status === 429 ? "too many requests" : `status ${status}`;
    const hint = status === 429 && settings.token === undefined ? "try later, or set HF_TOKEN" : "try later";
    return new HubFailure("busy", `${host} cannot answer now (${cause}) about ${nameOf(subject)}`, hint, {
      retryAfterMs,
    });
  }
  if (reason === "GatedRepo" || (status === 403 && reason === "")) {
    const hint =
      settings.token === undefined
        ? `accept its conditions at ${page}, then set HF_TOKEN to a token of that account`
        : `accept its conditions at ${page} with the account that HF_TOKEN belongs to, or give the token the right to read it`;
    return new HubFailure(
      "denied",
      `${repo} is gated: ${host} gives it only to those it knows (status ${status})`,
      hint,
    );
  }
  if (reason === "RevisionNotFound") {
    const hint = `${page}/commits lists what there is`;
    return new HubFailure("absent", `${repo} has no revision ${JSON.stringify(revision)}`, hint);
  }
  if (reason === "EntryNotFound" || (status === 404 && file !== undefined && reason === "")) {
    return new HubFailure(
      "absent",
      `${repo} has no file ${file ?? "of that name"} at ${revision}`,
      `${page}/tree/${revision} lists its files`,
    );
  }
  if (status === 401 && settings.token !== undefined && reason !== "RepoNotFound") {
    const hint = "set HF_TOKEN to a valid token, or unset it for public models";
    return new HubFailure("denied", `${host} does not accept the token${said === "" ? "" : `: ${said}`}`, hint);
  }
  if (reason === "RepoNotFound" || status === 401 || status === 404) {
    const hint =
      settings.token === undefined
        ? "check the spelling; for a private model set HF_TOKEN; for a local one check the path"
        : "check the spelling and that HF_TOKEN may read it; for a local model check the path";
    return new HubFailure("missing", `${host} has no repository ${repo}, or it is private`, hint);
  }
  const detail = said === "" ? "" : `: ${said}`;
  return new HubFailure(
    "answer",
    `${host} answered with status ${status} about ${nameOf(subject)}${detail}`,
    ENDPOINT_HINT,
  );
}

/** The failure behind what `fetch` or the reading of a body threw. */
export function connectionFailure(thrown: unknown, subject: Subject, settings: HubSettings): HubFailure {
  if (thrown instanceof HubFailure) return thrown;
  const code = systemCode(thrown) ?? "";
  const host = hostOf(settings.endpoint);
  const text = thrown instanceof Error ? thrown.message : String(thrown);
  if (/CERT|SIGNATURE|TLS|SSL|ISSUER/.test(code)) {
    const hint = "check the clock, the proxy, and NODE_EXTRA_CA_CERTS for a certificate of your own";
    return new HubFailure("unreachable", `no secure connection to ${host}: ${text}`, hint, { cause: thrown });
  }
  if (UNREACHABLE.has(code)) {
    const hint =
      "check the network, HTTPS_PROXY and HF_ENDPOINT; HF_HUB_OFFLINE=1 uses only what is cached; the model embedded needs no network";
    return new HubFailure("unreachable", `cannot reach ${host} for ${nameOf(subject)} (${code})`, hint, {
      cause: thrown,
    });
  }
  const cause = isTimeout(thrown) ? `no byte for ${settings.timeoutMs / 1000} s` : code === "" ? text : code;
  const hint = "run the command again: it continues where it stopped";
  return new HubFailure(
    "interrupted",
    `the connection to ${host} broke while fetching ${nameOf(subject)} (${cause})`,
    hint,
    {
      cause: thrown,
    },
  );
}

/** Something that no Hub would answer: a portal's login page, a broken mirror. */
export function strangeAnswer(what: string, settings: HubSettings): HubFailure {
  return new HubFailure("answer", `${hostOf(settings.endpoint)} does not answer like a Hub: ${what}`, ENDPOINT_HINT);
}

const ENDPOINT_HINT = "check HF_ENDPOINT, the proxy, and whether the network asks for a login";

const UNREACHABLE = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "ENETUNREACH",
  "EHOSTUNREACH",
  "ENETDOWN",
  "EADDRNOTAVAIL",
  "ERR_INVALID_URL",
  "ConnectionRefused",
  "FailedToOpenSocket",
]);

function isTimeout(thrown: unknown): boolean {
  return thrown instanceof Error && thrown.name === "TimeoutError";
}

function nameOf({ repo, file }: Subject): string {
  return file === undefined ? repo : `${repo}/${file}`;
}

function hostOf(endpoint: string): string {
  return URL.canParse(endpoint) ? new URL(endpoint).host : endpoint;
}
