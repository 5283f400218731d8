import { statSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { RandloraError } from "../../files/errors.ts";
import { isGgufName } from "../../files/gguf/format.ts";
import { folderName } from "../../files/run-names.ts";
import { hubNameOf, type Recorded } from "../../models/folder/locate.ts";
import type { AdapterFolder } from "./adapter-folder.ts";
import type { Pooling } from "../generation/embedding.ts";
import { ApiError } from "./api-error.ts";
import type { RawModels } from "./prompt.ts";
import type { ServedModel } from "./job.ts";

/** `--adapter NAME=A`. */
export interface NamedAdapter {
  /** What clients call it. */
  readonly name: string;
  /** A path, or a name on the Hub. */
  readonly source: string;
}

/** The name under which clients know a model, or an adapter without a name of its own: its folder's (RUN-best for RUN/best), a GGUF file's, or its Hub name. */
export function nameOf(place: string | Recorded): string {
  const hub = hubNameOf(place);
  if (hub !== undefined) return hub.repo;
  const path = resolve(typeof place === "string" ? place : place.name);
  const isFile = statSync(path, { throwIfNoEntry: false })?.isFile() === true;
  if (isFile && isGgufName(path)) return basename(path).replace(/\.gguf$/i, "") || "model";
  return folderName(isFile ? dirname(path) : path) || "model";
}

/**
 * Reads `NAME=A`, or A alone, which is then called as its folder is.
 * @param taken names of other models
 * @throws RandloraError `usage` for a name that is empty or taken
 */
export function readNamedAdapters(texts: readonly string[], taken: readonly string[]): readonly NamedAdapter[] {
  const names = new Set(taken);
  return texts.map((text) => {
    const at = text.indexOf("=");
    const source = text.slice(at + 1);
    const name = at < 0 ? nameOf(source) : text.slice(0, at).trim();
    const refuse = (reason: string): RandloraError =>
      new RandloraError(
        "usage",
        `--adapter ${text}: ${reason}`,
        "write --adapter NAME=A, with a name of its own for each",
      );
    if (name === "" || source === "") throw refuse("it must be NAME=A");
    if (names.has(name)) throw refuse(`another model is called ${name} already`);
    names.add(name);
    return { name, source };
  });
}

export interface ModelListOptions {
  /** The id of requests that name no model; the base's where nothing is said. */
  readonly preferred?: string | undefined;
  /** Positions that a request may use, prompt and answer together. */
  readonly context?: number | undefined;
  /** `--pooling`, of `/v1/embeddings`. */
  readonly pooling?: Pooling | undefined;
  /** Where models that the list does not have are looked for. */
  readonly folder?: AdapterFolder | undefined;
}

/** The models of a server, the base first. */
export class ModelList {
  readonly #base: ServedModel;
  readonly #models: Map<string, ServedModel>;
  readonly #default: ServedModel;
  readonly #options: ModelListOptions;
  /** Models on their way into the list. */
  readonly #opening = new Map<string, Promise<ServedModel | undefined>>();
  /** When it was made, in seconds since 1970. */
  readonly created = Math.floor(Date.now() / 1000);

  /** @param adapted with ids that are all different and not the base's */
  constructor(base: ServedModel, adapted: readonly ServedModel[], options: ModelListOptions = {}) {
    this.#base = base;
    this.#models = new Map([base, ...adapted].map((model) => [model.id, model]));
    this.#default = this.#models.get(options.preferred ?? base.id) ?? base;
    this.#options = options;
  }

  /** Those that are there now; the folder may have more. */
  get all(): readonly ServedModel[] {
    return [...this.#models.values()];
  }

  /** Every name that is served, those of the folder last, with the paths of its adapters. */
  async entries(): Promise<ReadonlyMap<string, readonly string[]>> {
    const opened = this.all.map(({ id, adapters }) => [id, adapters.map(({ path }) => path)] as const);
    const found = [...((await this.#options.folder?.adapters()) ?? [])].filter(([id]) => !this.#models.has(id));
    return new Map<string, readonly string[]>([...opened, ...found.map(([id, path]) => [id, [path]] as const)]);
  }

  get base(): string {
    return this.#base.id;
  }

  /** The id of requests that name no model. */
  get preferred(): string {
    return this.#default.id;
  }

  /** Which were trained without the chat template. */
  get raw(): RawModels {
    const ids = this.all.filter(({ raw }) => raw).map(({ id }) => id);
    return { byDefault: this.#default.raw, ids: this.#isAlone ? undefined : ids };
  }

  /** The model of a request: where there is only one, any name means it. @throws as `find` */
  async choose(id: string | undefined): Promise<ServedModel> {
    return id === undefined || this.#isAlone ? this.#default : await this.find(id);
  }

  /** @throws ApiError 404 for a name that is not served; RandloraError for one in the folder that does not fit */
  async find(id: string): Promise<ServedModel> {
    const found = this.#models.get(id) ?? (await this.#inFolder(id));
    if (found !== undefined) return found;
    const served = [...(await this.entries()).keys()].join(", ").slice(0, 1000);
    const message = `no model is named ${JSON.stringify(id.slice(0, 100))} here, only: ${served}`;
    throw new ApiError(404, message, { code: "model_not_found", param: "model" });
  }

  /** Takes an adapter of the folder into the list. @throws ApiError 400 for a name that is taken, 403 without a folder; as `AdapterFolder.load` */
  async load(id: string, path: string): Promise<void> {
    const { folder } = this.#options;
    if (folder === undefined) throw notAllowed();
    if (this.#models.has(id) || this.#opening.has(id)) {
      throw new ApiError(400, `lora_name: ${JSON.stringify(id.slice(0, 100))} is served already`, {
        param: "lora_name",
      });
    }
    await this.#open(id, () => folder.load(id, path));
  }

  /** Takes a model out of the list; its running requests go on. @throws ApiError 404, 403 */
  unload(id: string): ServedModel {
    if (this.#options.folder === undefined) throw notAllowed();
    const found = this.#models.get(id);
    if (found === undefined || found.adapters.length === 0 || found === this.#default) {
      const message = `lora_name: no adapter that can be unloaded is named ${JSON.stringify(id.slice(0, 100))}`;
      throw new ApiError(404, message, { param: "lora_name" });
    }
    this.#models.delete(id);
    return found;
  }

  /** One model in OpenAI's shape; adapters name their base, and all their context, as vLLM does. */
  describe({ id, adapters }: Pick<ServedModel, "id"> & { readonly adapters: readonly unknown[] }): object {
    const parent = adapters.length > 0 ? this.#base.id : null;
    const { context, pooling } = this.#options;
    const length = context === undefined ? {} : { max_model_len: context };
    const pooled = pooling === undefined ? {} : { pooling };
    return { id, object: "model", created: this.created, owned_by: "randlora", parent, ...length, ...pooled };
  }

  /** What `/v1/models` says; `default` is the id of requests that name no model, which OpenAI's API does not have. */
  async list(): Promise<object> {
    const data = Array.from(await this.entries(), ([id, adapters]) => this.describe({ id, adapters }));
    return { object: "list", data, default: this.#default.id };
  }

  get #isAlone(): boolean {
    return this.#options.folder === undefined && this.#models.size === 1;
  }

  async #inFolder(id: string): Promise<ServedModel | undefined> {
    const { folder } = this.#options;
    if (folder === undefined) return undefined;
    return await (this.#opening.get(id) ?? this.#open(id, () => folder.find(id)));
  }

  /** Opens a model once, however many ask for it meanwhile. */
  async #open(id: string, open: () => Promise<ServedModel | undefined>): Promise<ServedModel | undefined> {
    const opening = open().finally(() => this.#opening.delete(id));
    this.#opening.set(id, opening);
    const found = await opening;
    if (found !== undefined) this.#models.set(id, found);
    return found;
  }
}

function notAllowed(): ApiError {
  return new ApiError(403, "adapters are changed only where the server is started with --adapter-dir");
}
