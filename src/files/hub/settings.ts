import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";

/** Where the Hub and its cache are, and how to speak to it. */
export interface HubSettings {
  /** Base address without a slash at the end. */
  readonly endpoint: string;
  /** Folder that holds `models--org--name`, shared with Python's huggingface_hub. */
  readonly cacheDir: string;
  readonly token: string | undefined;
  /** Never open a connection: what is not in the cache does not exist. */
  readonly offline: boolean;
  /** False where snapshots must hold the files themselves. */
  readonly symlinks: boolean;
  /** How long a connection may stay silent before it is given up and tried again. */
  readonly timeoutMs: number;
  /** Wait before the first repetition; it doubles with each further one. */
  readonly retryDelayMs: number;
}

type Environment = Readonly<Record<string, string | undefined>>;

const DEFAULT_ENDPOINT = "https://huggingface.co";
const DEFAULT_TIMEOUT_S = 10;

/**
 * Reads the variables that Python's huggingface_hub reads, with its precedence (its `constants.py` and
 * `utils/_auth.py`); `~` and `$VARIABLE` in paths mean the same, so that the two languages have one cache.
 */
export function hubSettings(environment: Environment = process.env): HubSettings {
  const value = (name: string): string | undefined => environment[name]?.trim() || undefined;
  const path = (name: string): string | undefined => {
    const text = value(name);
    return text === undefined ? undefined : resolve(expand(text, environment));
  };
  const home = path("HF_HOME") ?? join(path("XDG_CACHE_HOME") ?? join(homedir(), ".cache"), "huggingface");
  return {
    endpoint: (value("HF_ENDPOINT") ?? DEFAULT_ENDPOINT).replace(/\/+$/, ""),
    cacheDir: path("HF_HUB_CACHE") ?? path("HUGGINGFACE_HUB_CACHE") ?? join(home, "hub"),
    token: isTrue(value("HF_HUB_DISABLE_IMPLICIT_TOKEN"))
      ? undefined
      : (value("HF_TOKEN") ??
        value("HUGGING_FACE_HUB_TOKEN") ??
        readToken(path("HF_TOKEN_PATH") ?? join(home, "token"))),
    offline: isTrue(value("HF_HUB_OFFLINE") ?? value("TRANSFORMERS_OFFLINE")),
    symlinks: !isTrue(value("HF_HUB_DISABLE_SYMLINKS")),
    timeoutMs: seconds(value("HF_HUB_DOWNLOAD_TIMEOUT")) * 1000,
    retryDelayMs: 1000,
  };
}

function isTrue(text: string | undefined): boolean {
  return /^(?:1|on|yes|true)$/i.test(text ?? "");
}

function seconds(text: string | undefined): number {
  const parsed = Number(text);
  return Number.isFinite(parsed) && parsed > 0 ? parsed : DEFAULT_TIMEOUT_S;
}

/** `~` and `$NAME`, `${NAME}`, as the shell would have expanded them had they not been quoted. */
function expand(path: string, environment: Environment): string {
  return path
    .replace(/^~(?=$|[/\\])/, homedir())
    .replace(/\$(?:\{(\w+)\}|(\w+))/g, (whole, braced?: string, bare?: string) => {
      return environment[braced ?? bare ?? ""] ?? whole;
    });
}

/** The token that `hf auth login` left; none when there is no such file or it cannot be read. */
function readToken(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim() || undefined;
  } catch {
    return undefined;
  }
}
