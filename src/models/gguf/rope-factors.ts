import type { DecoderConfig } from "../decoder/config.ts";
import type { Rope } from "../blocks/rope.ts";

const round = Math.fround;

/** A tensor that no checkpoint has: what llama.cpp divides the angles of each pair of elements by. */
export interface RopeFactors {
  readonly name: (typeof ROPE_TENSORS)[number];
  readonly factors: Float32Array<ArrayBuffer>;
}

const FREQS = "rope_freqs.weight";
const LONG = "rope_factors_long.weight";
const SHORT = "rope_factors_short.weight";
/** What such tensors may be called. */
export const ROPE_TENSORS = [FREQS, LONG, SHORT] as const;

/** What pairs that stay are divided by: their angles are next to 0. */
export const STAYS = Math.fround(1e30);

/** The factors of Llama 3's, of Phi 3's and of Gemma 4's ropes; other kinds of scaling are metadata. */
export function ropeFactors({ ropes }: Pick<DecoderConfig, "ropes">): RopeFactors[] {
  const [rope] = ropes;
  if (rope?.scaling.kind === "longrope") {
    const { longFactor, shortFactor } = rope.scaling;
    return [
      { name: LONG, factors: Float32Array.from(longFactor) },
      { name: SHORT, factors: Float32Array.from(shortFactor) },
    ];
  }
  const factors = rope && (proportionalFactors(rope) ?? llama3Factors(rope));
  return factors === undefined ? [] : [{ name: FREQS, factors }];
}

function proportionalFactors({ size, scaling }: Rope): Float32Array<ArrayBuffer> | undefined {
  if (scaling.kind !== "proportional") return undefined;
  const { factor, pairs } = scaling;
  return Float32Array.from({ length: size / 2 }, (_, pair) => (pair < pairs ? factor : STAYS));
}

/** In f32 step by step, as llama.cpp's converter has them from torch. */
function llama3Factors({ theta, size, scaling }: Rope): Float32Array<ArrayBuffer> | undefined {
  if (scaling.kind !== "llama3") return undefined;
  const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, trainedLength } = scaling;
  return Float32Array.from({ length: size / 2 }, (_, pair) => {
    const frequency = round(1 / round(theta ** round((2 * pair) / size)));
    const wavelength = round((2 * Math.PI) / frequency);
    if (wavelength < trainedLength / high) return 1;
    if (wavelength > trainedLength / low) return factor;
    const smooth = round(round(round(trainedLength / wavelength) - low) / (high - low));
    return round(1 / round(round(round(1 - smooth) / factor) + smooth));
  });
}
