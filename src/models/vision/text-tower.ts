import { RandloraError } from "../../files/errors.ts";
import { OPS } from "../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import { recordNorm } from "../blocks/norm.ts";
import type { Linears } from "../blocks/linears.ts";
import type { PlacedWeights } from "../placed-weights.ts";
import { type PlannedMatrix, plannedMatrix, plannedVector } from "../tensor-plan.ts";
import { type Placed, plannedIn, tensorsIn } from "../description.ts";
import { type EncoderConfig, type EncoderWeights, placeEncoder, planEncoder, recordEncoder } from "./encoder.ts";

/** CLIP's encoder of texts: causal, and what the text's end token has become stands for the text. */
export interface TextConfig {
  readonly encoder: EncoderConfig;
  readonly vocabularySize: number;
  /** Tokens of a text at most. */
  readonly contextLength: number;
  /** `eos_token_id`; see {@link endOf}. */
  readonly endToken: number;
  /** What a checkpoint's names begin with. */
  readonly prefix: string;
}

type PlannedText = {
  readonly embedding: PlannedMatrix;
  readonly positions: PlannedMatrix;
  readonly lastNorm: PlannedMatrix;
  readonly lastNormBias: PlannedMatrix;
};

/** Every tensor of the tower. */
export function planText(config: TextConfig): PlannedMatrix[] {
  return plannedIn([planEmbedding(config), planEncoder(config.encoder)]);
}

function planEmbedding({ encoder, vocabularySize, contextLength, prefix }: TextConfig): PlannedText {
  const { width } = encoder;
  const table = (name: string, rows: number) =>
    plannedMatrix(width, [`${prefix}embeddings.${name}.weight`, [rows, width]]);
  return {
    embedding: table("token_embedding", vocabularySize),
    positions: table("position_embedding", contextLength),
    lastNorm: plannedVector([`${prefix}final_layer_norm.weight`, [width]]),
    lastNormBias: plannedVector([`${prefix}final_layer_norm.bias`, [width]]),
  };
}

/**
 * The place of the token that stands for a text, as transformers finds it: the first end token, else the first token; in
 * configurations from before its pull request 24773, whose `eos_token_id` is 2, the first of the highest id.
 */
export function endOf(ids: readonly number[], endToken: number): number {
  const end = endToken === 2 ? Math.max(...ids) : endToken;
  return Math.max(0, ids.indexOf(end));
}

/** CLIP's encoder of texts in GPU memory. */
export class TextTower {
  readonly config: TextConfig;
  readonly #weights: Placed<PlannedText>;
  readonly #layers: EncoderWeights;

  /** Takes memory; the placed weights' `fill` gives it content. @throws RandloraError `memory` */
  constructor(placed: PlacedWeights, config: TextConfig) {
    this.config = config;
    this.#weights = placed.placeAll(planEmbedding(config));
    this.#layers = placeEncoder(placed, config.encoder);
  }

  /** Every matrix and vector, in an order that follows from the config alone. */
  get matrices(): Tensor[] {
    return tensorsIn([this.#weights, this.#layers]);
  }

  /**
   * Records the pass over texts of any lengths, special tokens included. What is behind the token that stands for a text
   * cannot change it, and is left out. The caller releases the result.
   * @returns transformers' pooler_output, (texts, width)
   * @throws RandloraError `model` for a text that is too long or empty, and for an id beyond the vocabulary
   */
  recordTexts(
    recorder: Recorder,
    linears: Linears,
    texts: readonly (readonly number[])[],
    checkpointing: boolean,
  ): Tensor {
    const { encoder, endToken } = this.config;
    texts.forEach((ids) => this.#check(ids));
    const kept = texts.map((ids) => ids.slice(0, endOf(ids, endToken) + 1));
    let begin = 0;
    const begins = kept.map(({ length }) => (begin += length) - length);
    const row = (label: string, values: readonly number[]) =>
      recorder.upload(label, [1, values.length], Uint32Array.from(values));
    const ids = row("ids", kept.flat());
    const places = row(
      "positions",
      kept.flatMap((text) => [...text.keys()]),
    );
    const first = row(
      "first",
      kept.flatMap((text, index) => text.map(() => begins[index] ?? NaN)),
    );
    const ends = row(
      "ends",
      kept.map(({ length }, index) => (begins[index] ?? NaN) + length - 1),
    );
    const { embedding, positions, lastNorm: weight, lastNormBias: bias } = this.#weights;
    const { y: tokens } = recorder.apply(OPS.embedding, { ids, table: embedding }, { scale: 1 });
    const { y: where } = recorder.apply(OPS.embedding, { ids: places, table: positions }, { scale: 1 });
    const { y: x } = recorder.apply(OPS.add, { a: tokens, b: where }, {});
    recorder.release(ids, places, tokens, where);
    const pass = { linears, first, last: undefined, checkpointing };
    const hidden = recordEncoder(recorder, this.#layers, pass, x);
    const { y: pooled } = recorder.apply(OPS.rows, { x: hidden, indices: ends }, {});
    const normed = recordNorm(recorder, { kind: "layer", weight, bias, epsilon: encoder.epsilon }, pooled);
    recorder.release(first, ends, hidden, pooled);
    return normed;
  }

  #check(ids: readonly number[]): void {
    const { contextLength, vocabularySize } = this.config;
    if (ids.length === 0) throw new RandloraError("model", "a text without tokens");
    if (ids.length > contextLength) {
      const cause = `a text of ${ids.length} tokens: this model takes ${contextLength}`;
      throw new RandloraError("model", cause, "shorten it");
    }
    const foreign = ids.find((id) => !(id >= 0 && id < vocabularySize));
    if (foreign === undefined) return;
    const cause = `token ${foreign} is beyond the model's vocabulary of ${vocabularySize}`;
    throw new RandloraError("model", cause, "tokenizer and weights belong to different models");
  }
}
