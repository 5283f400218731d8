import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import type { Activation } from "../../compute/tensor/elementwise.ts";
import type { Rope } from "../blocks/rope-scaling.ts";

/** What may differ from layer to layer. */
export interface LayerConfig {
  /** Positions that a token sees, itself included; Infinity: all before it. */
  readonly window: number;
  /** Which of the model's `ropes` turns this layer's heads. */
  readonly rope: number;
}

/** A decoder of the llama family: what distinguishes one architecture, and one model, from another. */
export interface DecoderConfig {
  /** `model_type` of config.json. */
  readonly architecture: string;
  readonly vocabularySize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  readonly layers: readonly LayerConfig[];
  readonly ropes: readonly Rope[];
  /** Positions that the model was made for: `max_position_embeddings`, times the factor of a dynamic rope. */
  readonly contextLength: number;
  readonly epsilon: number;
  /** Added to the weights of norms: 1 in Gemma, else 0. */
  readonly normOffset: number;
  readonly activation: Activation;
  /** What embeddings are multiplied by: √hidden in Gemma, else 1. */
  readonly embeddingScale: number;
  readonly attentionScale: number;
  readonly attentionSoftcap: number | undefined;
  readonly logitSoftcap: number | undefined;
  /** The embedding is the output matrix as well. */
  readonly tied: boolean;
  /** The heads of q and k are normalized (Qwen 3, Gemma 3). */
  readonly queryKeyNorm: boolean;
  /** The outputs of attention and MLP are normalized before they are added (Gemma). */
  readonly postNorms: boolean;
  readonly qkvBias: boolean;
  readonly outputBias: boolean;
  readonly mlpBias: boolean;
  /** q, k, v are one matrix in the checkpoint, and so are gate and up (Phi 3). */
  readonly fused: boolean;
  /** Tokens that end a text, by config.json. */
  readonly endTokens: readonly number[];
}

/** Checks what the kernels rely on. @throws RandloraError `model` */
export function checkConfig(config: DecoderConfig, path: string): DecoderConfig {
  const { heads, kvHeads, headSize, ropes } = config;
  const refuse = (what: string) => {
    throw new RandloraError("model", `${oneLine(path)}: ${what}`, "this model cannot be run");
  };
  if (heads % kvHeads !== 0) refuse(`${heads} attention heads cannot share ${kvHeads} key-value heads`);
  if (headSize % 4 !== 0) refuse(`heads of ${headSize} elements; a multiple of 4 is supported`);
  for (const { size, scaling } of ropes) {
    if (size % 2 !== 0 || size > headSize) refuse(`${size} of ${headSize} elements of a head turn`);
    if (scaling.kind !== "longrope") continue;
    const lengths = [scaling.shortFactor.length, scaling.longFactor.length];
    if (lengths.some((length) => length !== size / 2)) {
      refuse(`longrope has ${lengths.join(" and ")} factors for ${size / 2} pairs`);
    }
  }
  return config;
}
