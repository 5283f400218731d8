import type { Pooling } from "../generation/embedding.ts";
import type { LanguageModel } from "../language-model.ts";
import type { KeyLimits } from "./api-keys.ts";
import type { Engine } from "./engine.ts";
import type { RequestDefaults } from "./fields.ts";
import type { Metrics } from "./metrics.ts";
import type { ModelList } from "./models.ts";
import type { PromptOptions } from "./prompt.ts";
import type { ReaderLimits } from "./request-reader.ts";

/** What the endpoints work with. */
export interface ApiParts {
  readonly model: LanguageModel;
  readonly models: ModelList;
  readonly engine: Engine;
  readonly prompts: PromptOptions;
  /** `--pooling`, of `/v1/embeddings`. */
  readonly pooling: Pooling;
  /** Is `/slots` answered, which says how long others' prompts and answers are? */
  readonly slots: boolean;
  readonly defaults: RequestDefaults;
  /** Told of failures that are no client's fault. */
  readonly onFailure: (error: unknown) => void;
  /** Of reading a request. */
  readonly limits?: ReaderLimits | undefined;
  readonly metrics: Metrics;
  /** `--api-key`, whose holder may change adapters. */
  readonly apiKey: string | undefined;
}

/** A request, and what the server knows of it beside what it says. */
export interface Call {
  readonly request: Request;
  /** Where it comes from. */
  readonly address: string;
  /** Limits of the key that it came with. */
  readonly key?: KeyLimits | undefined;
  /** Seconds without a byte after which the connection is closed; 0: never. */
  readonly setTimeout: (seconds: number) => void;
}
