import type { AdapterChoice } from "../../adapters/merge/in-memory/weights.ts";
import type { Pooling } from "../generation/pooling.ts";
import { ApiError } from "./api-error.ts";
import type { RawModels } from "./prompt.ts";

/** A model that clients can name: the base, or the base with an adapter. */
export interface ServedModel {
  readonly id: string;
  /** None: the base. */
  readonly adapters: readonly AdapterChoice[];
  /** It was trained without the chat template: a chat continues its last message as it stands. */
  readonly raw: boolean;
}

export interface ModelListOptions {
  /** The id of requests that name no model; the base's where nothing is said. */
  readonly preferred?: string | undefined;
  /** Ids of models that were trained without the chat template. */
  readonly raw?: readonly string[];
  /** Positions that a request may use, prompt and answer together. */
  readonly context?: number | undefined;
  /** Which hidden states stand for a text in `/v1/embeddings`. */
  readonly pooling?: Pooling | undefined;
}

/** The models of a server, the base first. */
export class ModelList {
  readonly #base: ServedModel;
  readonly #models: readonly ServedModel[];
  readonly #default: ServedModel;
  readonly #context: number | undefined;
  readonly #pooling: Pooling | undefined;
  readonly #created = Math.floor(Date.now() / 1000);

  /**
   * @param adapters ids, which are all different and not the base's, with what they stand for
   */
  constructor(
    base: string,
    adapters: ReadonlyMap<string, AdapterChoice>,
    { preferred = base, raw = [], context, pooling }: ModelListOptions = {},
  ) {
    this.#context = context;
    this.#pooling = pooling;
    this.#base = { id: base, adapters: [], raw: raw.includes(base) };
    const adapted = Array.from(adapters, ([id, choice]) => ({ id, adapters: [choice], raw: raw.includes(id) }));
    this.#models = [this.#base, ...adapted];
    this.#default = this.#models.find(({ id }) => id === preferred) ?? this.#base;
  }

  get all(): readonly ServedModel[] {
    return this.#models;
  }

  /** Which were trained without the chat template. */
  get raw(): RawModels {
    const ids = this.#models.filter(({ raw }) => raw).map(({ id }) => id);
    return { byDefault: this.#default.raw, ids: this.#models.length === 1 ? undefined : ids };
  }

  /** The model of a request: where there is only one, any name means it. @throws ApiError 404 for a name that is not served */
  choose(id: string | undefined): ServedModel {
    return id === undefined || this.#models.length === 1 ? this.#default : this.find(id);
  }

  /** @throws ApiError 404 for a name that is not served */
  find(id: string): ServedModel {
    const found = this.#models.find((model) => model.id === id);
    if (found !== undefined) return found;
    const served = this.#models.map((model) => model.id).join(", ");
    const message = `no model is named ${JSON.stringify(id.slice(0, 100))} here, only: ${served}`;
    throw new ApiError(404, message, { code: "model_not_found", param: "model" });
  }

  /** One model in OpenAI's shape; adapters name their base, and all their context, as vLLM does. */
  describe({ id, adapters }: ServedModel): object {
    const parent = adapters.length === 0 ? null : this.#base.id;
    const length = this.#context === undefined ? {} : { max_model_len: this.#context };
    const pooling = this.#pooling === undefined ? {} : { pooling: this.#pooling };
    return { id, object: "model", created: this.#created, owned_by: "randlora", parent, ...length, ...pooling };
  }

  /** What Ollama's `/api/tags` says. */
  tags(): readonly object[] {
    const modified = new Date(this.#created * 1000).toISOString();
    const details = {
      parent_model: "",
      format: "",
      family: "",
      families: null,
      parameter_size: "",
      quantization_level: "",
    };
    return this.#models.map(({ id, adapters }) => ({
      name: id,
      model: id,
      modified_at: modified,
      size: 0,
      digest: "",
      details: { ...details, parent_model: adapters.length === 0 ? "" : this.#base.id },
    }));
  }

  /** What `/v1/models` says; `default` is the id of requests that name no model, which OpenAI's API does not have. */
  toJSON(): object {
    const data = this.#models.map((model) => this.describe(model));
    return { object: "list", data, default: this.#default.id };
  }
}
