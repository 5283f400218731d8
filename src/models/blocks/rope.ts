import type { Recorder } from "../../compute/tensor/recorder.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";

/** cos and sin of one rope for the rows of a pass; see OPS.rope. */
export interface Angles {
  readonly cos: Tensor;
  readonly sin: Tensor;
  /** What each query is multiplied by (tokens, 1), and the number of each row (tokens, 1) U32: OPS.mixRows' operands; undefined: nothing. */
  readonly growth?: { readonly factors: Tensor; readonly places: Tensor } | undefined;
}

/** Every tensor of them. */
export function tensorsOfAngles({ cos, sin, growth }: Angles): Tensor[] {
  return [cos, sin, ...(growth === undefined ? [] : Object.values(growth))];
}

/**
 * Uploads the angles of every rope for tokens at these positions.
 * @param length of the sequence, or of the longest: what RoPE that depends on the length goes by
 */
export function uploadAngles(
  recorder: Recorder,
  ropes: readonly Rope[],
  length: number,
  positions: ArrayLike<number>,
): Angles[] {
  return ropes.map((rope) => {
    const { cos, sin } = angles(rope, length, positions);
    const shape = [positions.length, rope.size / 2] as const;
    const uploaded = { cos: recorder.upload("cos", shape, cos), sin: recorder.upload("sin", shape, sin) };
    if (rope.growth === undefined) return uploaded;
    const column = [positions.length, 1] as const;
    const factors = recorder.upload("growth", column, queryGrowth(rope.growth, positions));
    const places = recorder.upload(
      "rows",
      column,
      Uint32Array.from(positions, (_, row) => row),
    );
    return { ...uploaded, growth: { factors, places } };
  });
}

/** The numbers of `rope_parameters` (before transformers 5: `rope_theta` and `rope_scaling`), resolved. */
export type RopeScaling =
  | { readonly kind: "default" }
  | { readonly kind: "none" }
  | { readonly kind: "linear"; readonly factor: number }
  /** The first pairs turn as they do where all of them turn, those behind them stay (Gemma 4). */
  | { readonly kind: "proportional"; readonly factor: number; readonly pairs: number }
  | { readonly kind: "dynamic"; readonly factor: number; readonly trainedLength: number }
  | {
      readonly kind: "llama3";
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly trainedLength: number;
    }
  | {
      readonly kind: "yarn";
      readonly factor: number;
      readonly trainedLength: number;
      readonly attentionFactor: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      readonly truncate: boolean;
    }
  | {
      readonly kind: "longrope";
      readonly shortFactor: readonly number[];
      readonly longFactor: readonly number[];
      readonly trainedLength: number;
      readonly attentionFactor: number;
    };

/** Angles of 0: layers without rope among others (SmolLM3), whose keys go into a cache as the others' do. */
export function noRope(size: number): Rope {
  return { theta: 1, size, scaling: { kind: "none" } };
}

/** How the heads of a layer turn with their position. */
export interface Rope {
  readonly theta: number;
  /** Elements of a head that turn, an even number. */
  readonly size: number;
  readonly scaling: RopeScaling;
  /** Queries that grow with their position; see `queryGrowth`. */
  readonly growth?: QueryGrowth | undefined;
}

/** Beyond every `length` positions queries are longer: Ministral 3's and Llama 4's temperature of attention. */
interface QueryGrowth {
  readonly beta: number;
  readonly length: number;
}

/** What queries at these positions are multiplied by: 1 + β log(1 + ⌊position / length⌋). */
export function queryGrowth({ beta, length }: QueryGrowth, positions: ArrayLike<number>): Float32Array<ArrayBuffer> {
  return Float32Array.from(positions, (position) => 1 + beta * Math.log(1 + Math.floor(position / length)));
}

/**
 * Angle per position of each pair of elements, in f32, for a sequence of `length` tokens: transformers'
 * modeling_rope_utils.py. Only dynamic and longrope depend on the length.
 */
function inverseFrequencies({ theta, size, scaling }: Rope, length: number): Float32Array<ArrayBuffer> {
  const half = size / 2;
  const base = scaling.kind === "dynamic" ? dynamicTheta(theta, size, scaling, length) : theta;
  const period = (pair: number) => base ** ((2 * pair) / size);
  return Float32Array.from({ length: half }, (_, pair) => {
    const plain = 1 / period(pair);
    switch (scaling.kind) {
      case "none":
        return 0;
      case "default":
      case "dynamic":
        return plain;
      case "linear":
        return plain / scaling.factor;
      case "proportional":
        return pair < scaling.pairs ? plain / scaling.factor : 0;
      case "llama3":
        return llama3(plain, scaling);
      case "yarn": {
        const keep = 1 - yarnRamp(pair, theta, size, scaling);
        return (plain / scaling.factor) * (1 - keep) + plain * keep;
      }
      case "longrope": {
        const factors = length > scaling.trainedLength ? scaling.longFactor : scaling.shortFactor;
        return plain / (factors[pair] ?? 1);
      }
    }
  });
}

/** Are the angles of two sequences of these lengths the same? */
export function sameAngles({ scaling }: Rope, one: number, other: number): boolean {
  if (scaling.kind === "dynamic") return Math.max(one, other) <= scaling.trainedLength || one === other;
  if (scaling.kind === "longrope") return one > scaling.trainedLength === other > scaling.trainedLength;
  return true;
}

/**
 * Do keys of a sequence of so many tokens fit queries when it has `length`? LongRoPE has two sets of angles, for sequences within the trained
 * length and beyond: keys of one do not fit queries of the other, and are computed anew, as transformers does for Phi 3. Dynamic RoPE, whose
 * angles move with every token, leaves its keys as they are, there and here.
 */
export function fitsKeys(rope: Rope, ofKeys: number, length: number): boolean {
  return rope.scaling.kind !== "longrope" || sameAngles(rope, ofKeys, length);
}

/** What cos and sin are multiplied by, so that attention keeps its temperature. */
function attentionFactor({ scaling }: Rope): number {
  return scaling.kind === "yarn" || scaling.kind === "longrope" ? scaling.attentionFactor : 1;
}

/**
 * cos and sin for tokens at these positions, each (tokens, size / 2) row by row. The angle is an f32 product, as
 * in transformers: at large positions its rounding is part of the result.
 */
export function angles(rope: Rope, length: number, positions: ArrayLike<number>) {
  const frequencies = inverseFrequencies(rope, length);
  const factor = attentionFactor(rope);
  const half = frequencies.length;
  const cos = new Float32Array(positions.length * half);
  const sin = new Float32Array(positions.length * half);
  for (let row = 0; row < positions.length; row++) {
    const position = positions[row] ?? 0;
    for (let pair = 0; pair < half; pair++) {
      const angle = Math.fround(position * (frequencies[pair] ?? 0));
      cos[row * half + pair] = Math.cos(angle) * factor;
      sin[row * half + pair] = Math.sin(angle) * factor;
    }
  }
  return { cos, sin };
}

/** NTK-aware scaling: beyond the trained length the base grows with the sequence. */
function dynamicTheta(
  theta: number,
  size: number,
  { factor, trainedLength }: { readonly factor: number; readonly trainedLength: number },
  length: number,
): number {
  const longest = Math.max(length, trainedLength);
  return theta * ((factor * longest) / trainedLength - (factor - 1)) ** (size / (size - 2));
}

function llama3(frequency: number, scaling: RopeScaling & { kind: "llama3" }): number {
  const { factor, lowFrequencyFactor, highFrequencyFactor, trainedLength } = scaling;
  const wavelength = (2 * Math.PI) / frequency;
  if (wavelength > trainedLength / lowFrequencyFactor) return frequency / factor;
  if (wavelength < trainedLength / highFrequencyFactor) return frequency;
  const smooth = (trainedLength / wavelength - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor);
  return ((1 - smooth) * frequency) / factor + smooth * frequency;
}

/** 0: the pair turns often enough to be kept; 1: it is interpolated (Peng et al., arXiv:2309.00071). */
function yarnRamp(pair: number, theta: number, size: number, scaling: RopeScaling & { kind: "yarn" }): number {
  const { betaFast, betaSlow, trainedLength, truncate } = scaling;
  const pairOf = (rotations: number) =>
    (size * Math.log(trainedLength / (rotations * 2 * Math.PI))) / (2 * Math.log(theta));
  const [from, to] = [pairOf(betaFast), pairOf(betaSlow)];
  const low = Math.max(truncate ? Math.floor(from) : from, 0);
  const high = Math.min(truncate ? Math.ceil(to) : to, size - 1);
  const width = low === high ? 0.001 : high - low;
  return Math.min(1, Math.max(0, (pair - low) / width));
}

/** YaRN's temperature for a scale, times a weight of it. */
export function yarnTemperature(scale: number, weight = 1): number {
  return scale <= 1 ? 1 : 0.1 * weight * Math.log(scale) + 1;
}

/** LongRoPE's temperature for a scale (Ding et al., arXiv:2402.13753). */
export function longropeTemperature(scale: number, trainedLength: number): number {
  return scale <= 1 ? 1 : Math.sqrt(1 + Math.log(scale) / Math.log(trainedLength));
}
