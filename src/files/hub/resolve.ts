import { RandloraError } from "../errors.ts";
import { HubFailure } from "./failure.ts";
import { fetchSnapshot, type HubProgress } from "./fetch.ts";
import { RepositoryFolder } from "./layout.ts";
import { isLoopback } from "./loopback.ts";
import { formatHubName, type HubName, isCommit } from "./name.ts";
import type { Wanted } from "./select.ts";
import { type HubSettings, hubSettings } from "./settings.ts";
import { snapshotGap } from "./snapshot.ts";
import { askCommit } from "./tree.ts";

export type { HubProgress } from "./fetch.ts";

/** How to look a name up. */
export interface HubOptions {
  /** Called often while something is fetched, never otherwise. */
  readonly progress?: ((progress: HubProgress) => void) | undefined;
  /** Told in one line when the cached copy stands in for a Hub that does not answer, or the token can be read on its way. */
  readonly warn?: ((line: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Use only what is cached; `HF_HUB_OFFLINE` by default. */
  readonly offline?: boolean | undefined;
  /** Where the Hub and the cache are; the environment's by default. */
  readonly settings?: HubSettings | undefined;
}

/**
 * The folder with the model's configuration, tokenizer and safetensors weights, fetched into the cache as far as they
 * are not there. A branch or tag is looked up anew each time; when the Hub does not answer, the copy that is cached is
 * used and `warn` told.
 *
 * @param options.weights false when the tokenizer and the configuration suffice
 * @throws RandloraError "file": {@link HubFailure} when the Hub has a reason, else when the cache or the repository lacks
 * something or the disk is full
 */
export async function resolveModel(
  name: HubName,
  options: HubOptions & { readonly weights?: boolean } = {},
): Promise<string> {
  return await resolveSnapshot(name, options.weights === false ? "tokenizer" : "model", options);
}

/** The folder with config.json (and the index of the weights, where there is one); as {@link resolveModel}. */
export async function resolveConfig(name: HubName, options: HubOptions = {}): Promise<string> {
  return await resolveSnapshot(name, "config", options);
}

/** The folder with `adapter_config.json` and `adapter_model.safetensors`, or `adapter.json`; as {@link resolveModel}. */
export async function resolveAdapter(name: HubName, options: HubOptions = {}): Promise<string> {
  return await resolveSnapshot(name, "adapter", options);
}

/** The folder with what of a model or an adapter is used, whichever the repository holds; as {@link resolveModel}. */
export async function resolveRepository(name: HubName, options: HubOptions = {}): Promise<string> {
  return await resolveSnapshot(name, "any", options);
}

async function resolveSnapshot(name: HubName, wanted: Wanted, options: HubOptions): Promise<string> {
  const settings = options.settings ?? hubSettings();
  const folder = new RepositoryFolder(settings.cacheDir, name.repo);
  if (options.offline ?? settings.offline) return await cachedSnapshot(folder, name, wanted);

  const { warn, signal = new AbortController().signal } = options;
  const connection = { settings, signal, warn };
  const known = await folder.commitOf(name.revision);
  const isCached = known !== undefined && (await isComplete(folder, known, wanted));
  // A commit never changes: nothing to ask.
  if (isCached && isCommit(name.revision)) return folder.snapshot(name.revision);
  warnOfOpenToken(settings, options.warn);
  try {
    const commit = isCommit(name.revision)
      ? name.revision
      : await askCommit(connection, name, isCached ? 0 : undefined);
    await fetchSnapshot(connection, folder, commit, wanted, options.progress);
    await folder.writeRef(name.revision, commit);
    return folder.snapshot(commit);
  } catch (thrown) {
    // A revision that is gone is the user's business, and so is a full disk; everything else may pass.
    if (!isCached || known === undefined || !(thrown instanceof HubFailure) || thrown.kind === "absent") throw thrown;
    options.warn?.(`${thrown.message}; using the copy in the cache (${known.slice(0, 7)})`);
    return folder.snapshot(known);
  }
}

function warnOfOpenToken({ endpoint, token }: HubSettings, warn: HubOptions["warn"]): void {
  const url = URL.parse(endpoint);
  if (token === undefined || url?.protocol !== "http:" || isLoopback(url.hostname)) return;
  warn?.(`HF_ENDPOINT=${endpoint}: your token is sent without encryption; use https, or unset HF_TOKEN`);
}

/** {@link snapshotGap} where the answer decides only whether to ask the Hub, which will tell what is wrong. */
async function isComplete(folder: RepositoryFolder, commit: string, wanted: Wanted): Promise<boolean> {
  const gap = await snapshotGap(folder, commit, wanted).catch(() => undefined);
  return gap === "complete";
}

/** The snapshot as the cache holds it, without a look at the network. */
async function cachedSnapshot(folder: RepositoryFolder, name: HubName, wanted: Wanted): Promise<string> {
  const hint = "unset HF_HUB_OFFLINE to fetch it, or set HF_HOME to the cache that holds it";
  const commit = await folder.commitOf(name.revision);
  const gap = commit === undefined ? "absent" : await snapshotGap(folder, commit, wanted);
  if (commit === undefined || gap === "absent") {
    throw new RandloraError(
      "file",
      `${formatHubName(name)} is not in the cache (${folder.cacheDir}), and we are offline`,
      hint,
    );
  }
  if (gap === "complete") return folder.snapshot(commit);
  throw new RandloraError(
    "file",
    `the cache holds only a part of ${formatHubName(name)}: ${gap.missing} missing`,
    hint,
  );
}
