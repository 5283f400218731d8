import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { MOST_HEAD } from "../../compute/tensor/ops/attention.ts";
import { MOST_KEY_SIZE } from "../../compute/tensor/ops/gated-delta.ts";
import type { Attention } from "../blocks/attention.ts";
import type { Block } from "../blocks/block.ts";
import type { LayerInputs } from "../blocks/layer-input.ts";
import type { Norm } from "../blocks/norm.ts";
import type { Rope } from "../blocks/rope.ts";
import type { PlannedMatrix } from "../tensor-plan.ts";

/** A layer: its blocks, one after another. */
export type PlannedLayer = readonly Block<PlannedMatrix>[];

/** A decoder, in the order in which tokens go through it: the weights that it reads, by name, and what is done with them. */
export interface DecoderConfig {
  /** `model_type` of config.json. */
  readonly architecture: string;
  readonly vocabularySize: number;
  readonly hiddenSize: number;
  /** Positions that the model was made for: `max_position_embeddings`, or what its rope is stretched to where that is more. */
  readonly contextLength: number;
  /** Tokens that end a text, by config.json. */
  readonly endTokens: readonly number[];
  /** What `rope` of an attention block is an index of. */
  readonly ropes: readonly Rope[];
  readonly embedding: PlannedMatrix;
  /** What embeddings are multiplied by: √hidden in Gemma, else 1. */
  readonly embeddingScale: number;
  /** Learned embeddings of positions, as many as `contextLength`, which are added to those of tokens; undefined: there are none. */
  readonly positions?: PlannedMatrix | undefined;
  /** What layers read of each token beside the stream, and the table that rows of it come from, (vocabulary, layers · size); both or neither. */
  readonly layerInputs?: LayerInputs<PlannedMatrix> | undefined;
  readonly layerTable?: PlannedMatrix | undefined;
  readonly layers: readonly PlannedLayer[];
  /** After the last layer. */
  readonly norm: Norm<PlannedMatrix>;
  /** The output matrix; undefined: the embedding is the output matrix as well. */
  readonly head: PlannedMatrix | undefined;
  /** Added to logits, (1, vocabulary); undefined: there is none (Phi 2 has one). */
  readonly headBias?: PlannedMatrix | undefined;
  /** Layers as other files have their matrices, told from these by names or shapes; see `storedDecoder`. */
  readonly otherLayers?: readonly PlannedLayer[] | undefined;
  /** The output matrix of a checkpoint that has one although config.json ties it to the embedding; see `storedDecoder`. */
  readonly headWhereStored?: PlannedMatrix | undefined;
  /** What logits are multiplied by, before their soft cap; 1 nearly everywhere. */
  readonly logitScale: number;
  readonly logitSoftcap: number | undefined;
  /** How names of tensors begin, up to a dot, that other parts of the model have (its image encoder): no decoder reads them, and every copy keeps them. */
  readonly otherParts: ReadonlySet<string>;
}

/** Characters of how such a name begins at most. A tensor's may have a million dots, of each of which its beginning would be hashed. */
const LONGEST_BEGIN = 128;

/** Is this tensor one of another part of the model? */
export function isOfOtherPart({ otherParts }: Pick<DecoderConfig, "otherParts">, name: string): boolean {
  for (let end = name.indexOf(".") + 1; end > 0 && end <= LONGEST_BEGIN; end = name.indexOf(".", end) + 1) {
    if (otherParts.has(name.slice(0, end))) return true;
  }
  return false;
}

/** The attention blocks of all layers, of which there is one at least. */
export function attentionsOf({
  layers,
}: Pick<DecoderConfig, "layers">): [Attention<PlannedMatrix>, ...Attention<PlannedMatrix>[]] {
  const [first, ...others] = layers.flat().flatMap(({ mixer }) => (mixer.kind === "attention" ? [mixer] : []));
  if (first === undefined) throw new TypeError("a decoder without attention");
  return [first, ...others];
}

/** The number of the layer whose keys and values this one attends with; undefined: its own, or it does not attend. */
export function keysOf(layer: PlannedLayer): number | undefined {
  return layer.flatMap(({ mixer }) => (mixer.kind === "attention" ? [mixer.keysOf] : []))[0];
}

/** Heads of delta rules of all layers at most, each of which has a place in a GGUF file: what a damaged one says would fill the memory. */
const MOST_DELTA_HEADS = 2 ** 17;

/** Checks what the kernels rely on. @throws RandloraError `model` */
export function checkConfig(config: DecoderConfig, path: string): DecoderConfig {
  const refuse = (what: string) => {
    throw new RandloraError("model", `${oneLine(path)}: ${what}`, "this model cannot be run");
  };
  for (const { heads, kvHeads, headSize, window, rope, qkv, queryNorm, keyNorm, valueNorm } of attentionsOf(config)) {
    if (heads % kvHeads !== 0) refuse(`${heads} attention heads cannot share ${kvHeads} key-value heads`);
    if (window < 1) refuse(`sliding_window ${window}: a token sees itself at least`);
    if (headSize > MOST_HEAD) refuse(`heads of ${headSize} elements; at most ${MOST_HEAD} are supported`);
    const isNormed = [queryNorm, keyNorm].some((norm) => norm !== undefined && norm.weight.cols !== headSize);
    const isOther = isNormed || valueNorm !== undefined;
    // Adapters add to the columns of q, k and v, whose heads follow one another.
    if (headSize % 4 !== 0 && (isOther || qkv.parts.some(({ rows }) => qkv.parts.length > 1 && rows % 4 !== 0))) {
      const what = isOther
        ? "with norms of all heads or of values"
        : `of which ${heads} and ${kvHeads} are no multiples of 4 together`;
      refuse(`heads of ${headSize} elements ${what}; a multiple of 4 is supported`);
    }
    const { size = 0 } = config.ropes[rope ?? NaN] ?? {};
    if (size % 2 !== 0 || size < 0 || size > headSize) refuse(`${size} of ${headSize} elements of a head turn`);
  }
  for (const { mixer } of config.layers.flat()) {
    if (mixer.kind === "gated-delta") {
      const { keyHeads, keySize, heads, valueSize } = mixer;
      if (heads % keyHeads !== 0) refuse(`${heads} heads of a delta rule cannot share ${keyHeads} heads of keys`);
      if (keySize % 4 !== 0 || valueSize % 4 !== 0 || keySize > MOST_KEY_SIZE) {
        const supported = `multiples of 4, and ${MOST_KEY_SIZE} of a key, are supported`;
        refuse(`heads of a delta rule with keys of ${keySize} and values of ${valueSize} elements; ${supported}`);
      }
    }
    if (mixer.kind === "layer-input" && mixer.output.weight.cols % 4 !== 0) {
      refuse(`inputs of ${mixer.output.weight.cols} elements for each layer; a multiple of 4 is supported`);
    }
    if (mixer.kind === "convolution" && mixer.output.weight.cols % 4 !== 0) {
      refuse(`convolutions of ${mixer.output.weight.cols} columns; a multiple of 4 is supported`);
    }
  }
  const deltaHeads = config.layers
    .flat()
    .reduce((sum, { mixer }) => sum + (mixer.kind === "gated-delta" ? mixer.heads : 0), 0);
  if (deltaHeads > MOST_DELTA_HEADS)
    refuse(`${deltaHeads} heads of delta rules; at most ${MOST_DELTA_HEADS} in all layers are supported`);
  for (const { size, scaling } of config.ropes) {
    if (scaling.kind !== "longrope") continue;
    const lengths = [scaling.shortFactor.length, scaling.longFactor.length];
    if (lengths.some((length) => length !== size / 2)) {
      refuse(`longrope has ${lengths.join(" and ")} factors for ${size / 2} pairs`);
    }
  }
  return config;
}
