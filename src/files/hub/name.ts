import { existsSync } from "node:fs";

/** A repository on the Hub, at a branch, tag or commit. */
export interface HubName {
  /** `org/name`. */
  readonly repo: string;
  /** What was written after `@`; `main` when nothing was. */
  readonly revision: string;
}

/** The branch that a name without `@revision` means. */
const DEFAULT_REVISION = "main";

/** What the Hub allows in either half of `org/name` (huggingface_hub's `validate_repo_id`), 96 characters together. */
const HALF = /^[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?$/;
const MAX_REPO_LENGTH = 96;

/** Endings of files that commands take: `org/model.safetensors` is a misspelt path, not a repository. */
const FILE_ENDING = /\.(?:safetensors|json|jsonl|gguf|bin|pt|yaml|git)$/i;

/** Where runs go that are not told where: what is named below it is a path, there or not. */
export const RUNS = "runs";

/**
 * Reads `org/name` or `org/name@revision`. A path that exists is never a Hub name, whatever it looks like, so a folder
 * `org/name` beside the working directory wins over the Hub; nor is one below `runs/`, which is misspelt.
 *
 * @returns undefined when `text` names something local or cannot be a Hub name
 */
export function parseHubName(text: string): HubName | undefined {
  return existsSync(text) || text.startsWith(`${RUNS}/`) ? undefined : parseRepository(text);
}

/** Where the Hub shows repositories; `datasets` and `spaces` come before the name of what is no model. */
const ADDRESS =
  /^(?:(?:https?:\/\/)?(?:www\.)?(?:huggingface\.co|hf\.co)|hf:\/)\/(?!datasets\/|spaces\/)(?<path>[^?#]+)/i;

/**
 * The name of the repository that an address on the Hub shows, `https://huggingface.co/ORG/NAME/tree/REVISION` with its
 * revision; undefined for other texts.
 */
export function nameInAddress(text: string): HubName | undefined {
  const [org = "", name = "", kind, revision, ...rest] = ADDRESS.exec(text)?.groups?.["path"]?.split("/") ?? [];
  const isAt = (kind === "tree" && rest.length === 0) || kind === "blob" || kind === "resolve" || kind === "commit";
  return parseRepository(`${org}/${name}${isAt && revision ? `@${revision}` : ""}`);
}

/** Reads `org/name[@revision]` where only a repository can be meant, as in `cache remove`. */
export function parseRepository(text: string): HubName | undefined {
  const at = text.indexOf("@");
  const repo = at < 0 ? text : text.slice(0, at);
  const revision = at < 0 ? DEFAULT_REVISION : text.slice(at + 1);
  return isRepository(repo) && isRevision(revision) ? { repo, revision } : undefined;
}

/** Writes a name the way it is read; the default branch is left out. */
export function formatHubName({ repo, revision }: HubName): string {
  return revision === DEFAULT_REVISION ? repo : `${repo}@${revision}`;
}

/** A commit's full name, which never changes its meaning (a branch or a tag may). */
export function isCommit(revision: string): boolean {
  return /^[0-9a-f]{40}$/.test(revision);
}

function isRepository(repo: string): boolean {
  const halves = repo.split("/");
  // `--` joins the halves in the cache's folder names, so the Hub forbids it inside them.
  return (
    halves.length === 2 &&
    halves.every((half) => HALF.test(half)) &&
    repo.length <= MAX_REPO_LENGTH &&
    !/--|\.\./.test(repo) &&
    !FILE_ENDING.test(repo)
  );
}

/** Git's rules for refs, as far as they keep `refs/<revision>` inside the cache: no `..`, no empty or hidden part. */
function isRevision(revision: string): boolean {
  return (
    /^[^\s\\~^:?*[\]@\p{Cc}]+$/u.test(revision) &&
    revision.split("/").every((part) => part !== "" && !part.startsWith(".")) &&
    !revision.includes("..")
  );
}
