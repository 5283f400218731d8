import { readdir, realpath, stat } from "node:fs/promises";
import { join, resolve, sep } from "node:path";
import { isAdapterFolder } from "../../adapters/formats/open.ts";
import { RandloraError } from "../../files/errors.ts";
import { fileError, oneLine } from "../../files/failure.ts";
import { ApiError } from "./api-error.ts";
import type { ServedModel } from "./job.ts";
import type { AdapterChoice } from "../../adapters/merge/merged-checkpoint.ts";
import type { GeneratorName } from "../../compute/random/names.ts";
import type { Log } from "../../terminal/screen.ts";
import { runsWithoutTemplate } from "../../models/folder/runs-without-template.ts";
import type { LanguageModel } from "../language-model.ts";

/** A name that is one folder of the folder. */
const NAME = /^[\p{L}\p{N}][\p{L}\p{N}._-]{0,199}$/u;
/** Adapters that `/v1/models` names at most. */
const MOST_NAMES = 1000;

/** Makes a model of an adapter. @throws RandloraError where it does not fit */
export type OpenAdapter = (id: string, path: string) => Promise<ServedModel>;

/** `--adapter-dir`: adapters that clients may ask for by their folders' names, without a restart. */
export class AdapterFolder {
  readonly #root: string;
  readonly #open: OpenAdapter;

  private constructor(root: string, open: OpenAdapter) {
    this.#root = root;
    this.#open = open;
  }

  /** @throws RandloraError `file` where there is no such folder */
  static async create(folder: string, open: OpenAdapter): Promise<AdapterFolder> {
    const root = await realpath(folder).catch((thrown: unknown) => {
      throw fileError(thrown, folder, "read");
    });
    if ((await stat(root)).isDirectory()) return new AdapterFolder(root, open);
    throw new RandloraError("file", `${oneLine(folder)}: is no folder`, "give --adapter-dir a folder of adapters");
  }

  /** The adapter in the folder of this name; undefined where there is none. @throws ApiError 400 where it does not fit the model */
  async find(name: string): Promise<ServedModel | undefined> {
    const path = await this.#folder(name);
    if (path === undefined) return undefined;
    try {
      return await this.#open(name, path);
    } catch (thrown) {
      if (!(thrown instanceof RandloraError) || thrown.code === "memory") throw thrown;
      // Clients need not know where the folder is.
      const why = thrown.message.replaceAll(join(this.#root, sep), "");
      throw new ApiError(400, `the adapter cannot be used: ${why}`, { param: "model", cause: thrown });
    }
  }

  /**
   * An adapter by its path, from the folder on; nothing outside of it is looked at.
   * @throws ApiError 404 where there is none; RandloraError where it does not fit the model
   */
  async load(id: string, path: string): Promise<ServedModel> {
    const found = await this.#inside(path);
    if (found !== undefined) return await this.#open(id, found);
    throw new ApiError(404, `lora_path: no adapter ${JSON.stringify(path.slice(0, 100))} in the folder of adapters`, {
      param: "lora_path",
    });
  }

  /** The adapters in it: names, sorted, and where they lie. */
  async adapters(): Promise<ReadonlyMap<string, string>> {
    const entries = await readdir(this.#root, { withFileTypes: true }).catch(() => []);
    const named = entries.filter((entry) => (entry.isDirectory() || entry.isSymbolicLink()) && NAME.test(entry.name));
    const names = named.map(({ name }) => name).toSorted();
    const links = new Set(named.filter((entry) => entry.isSymbolicLink()).map(({ name }) => name));
    const found = names.slice(0, MOST_NAMES).map(async (name): Promise<readonly (readonly [string, string])[]> => {
      const path = links.has(name) ? await this.#folder(name) : join(this.#root, name);
      // One that cannot be read, or has just gone, keeps nobody from the others.
      const isThere = path !== undefined && (await isAdapterFolder(path).catch(() => false));
      return isThere ? [[name, path]] : [];
    });
    return new Map((await Promise.all(found)).flat());
  }

  /** Where a folder of this name is, or a link to one inside; undefined where there is none. */
  async #folder(name: string): Promise<string | undefined> {
    const path = NAME.test(name) ? await this.#inside(name) : undefined;
    const found = path === undefined ? undefined : await stat(path).catch(() => undefined);
    return found?.isDirectory() === true ? path : undefined;
  }

  /** Where a path leads, if that is inside: links are followed before it is judged. */
  async #inside(path: string): Promise<string | undefined> {
    if (path.includes("\0")) return undefined;
    const found = await realpath(resolve(this.#root, path)).catch(() => undefined);
    return found?.startsWith(join(this.#root, sep)) === true ? found : undefined;
  }
}

/** How models are served. */
export interface ServedOptions {
  /** The id of the base. */
  readonly base: string;
  /** Merge adapters, whether or not they could stand beside the weights. */
  readonly merge: boolean;
  readonly generator: GeneratorName | undefined;
  /** Options ask for the chat template, however an adapter was trained. */
  readonly wantsTemplate: boolean;
  readonly log: Pick<Log, "info" | "warn">;
}

/**
 * Finds out how an adapter can be served: what does not fit is found now, not by the first client who asks for it.
 * @param source what it was named: a run says how it was trained
 * @throws RandloraError `adapter`, `file`, `format` where it cannot
 */
export async function servedAdapter(
  model: LanguageModel,
  { id, source, choice }: { readonly id: string; readonly source: string; readonly choice: AdapterChoice },
  options: ServedOptions,
): Promise<ServedModel> {
  const { base, merge, generator, log } = options;
  for (const line of await model.checkAdapters([choice], generator)) log.warn(`${id}: ${line}`);
  const cause = merge ? undefined : await hindrance(model, choice, generator);
  if (cause !== undefined) log.warn(`${id}: ${cause}: requests for it and for others wait for each other`);
  const weights = merge || cause !== undefined ? Symbol(id) : base;
  return { id, adapters: [choice], raw: await isRaw(model, id, source, options), weights };
}

/** Is the last message of a chat with this model continued as it stands, since it was trained without the chat template? */
export async function isRaw(
  { template }: LanguageModel,
  id: string,
  source: string,
  { wantsTemplate, log }: Pick<ServedOptions, "wantsTemplate" | "log">,
): Promise<boolean> {
  if (wantsTemplate || (await runsWithoutTemplate([source])).length === 0) return false;
  if (template === undefined) return true;
  log.info(`${id}: trained without the chat template: the last message of a chat is continued as it stands`);
  return true;
}

/** Why an adapter has no place beside the weights as others have; where weights are quantized, it may still have them for itself. */
async function hindrance(
  model: LanguageModel,
  choice: AdapterChoice,
  generator: GeneratorName | undefined,
): Promise<string | undefined> {
  try {
    await model.checkBeside([choice], generator);
    return undefined;
  } catch (thrown) {
    if (!(thrown instanceof RandloraError) || thrown.code !== "adapter") throw thrown;
    return thrown.message;
  }
}
