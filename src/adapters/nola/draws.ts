import { createHash } from "node:crypto";
import { kaimingUniform } from "../../compute/random/kaiming.ts";
import { philox4x32, philoxByte, philoxKey } from "../../compute/random/philox.ts";
import { sha256OfF32 } from "../../compute/random/sha256.ts";

/**
 * What determines every number that NoLA does not train: U (bases, rank, maxIn), V (bases, rank, maxOut), of which a module
 * takes the first columns, and A₀ of each module.
 */
export interface NolaDraws {
  /** Seed of U and V: `projection_prng_key`. */
  readonly key: bigint;
  /** k. */
  readonly bases: number;
  readonly rank: number;
  /** The largest input and output among the modules that U and V were made for. */
  readonly maxIn: number;
  readonly maxOut: number;
  /** Seed of A₀. */
  readonly initSeed: number;
}

/** Streams of philox-v1: U of A, V of B. */
export const U_STREAM = 0;
export const V_STREAM = 1;

/** An element is (2b − 255)/255, b a byte of the stream: uniform among 256 numbers from −1 to 1. */
export const ELEMENT_DIVISOR = 255;

/** What Σ cᵢUᵢ is multiplied by, so that its size does not depend on k. */
export function basesScale({ bases }: Pick<NolaDraws, "bases">): number {
  return 1 / Math.sqrt(bases);
}

const words = new Uint32Array(4);

/** Fills `out` with elements `first`, `first + step`, … of U or V in the order of memory (base, row, column). */
export function fillElements(
  draws: Pick<NolaDraws, "key">,
  stream: typeof U_STREAM | typeof V_STREAM,
  out: Float64Array,
  first: number,
  step = 1,
): void {
  const key = philoxKey(draws.key);
  let drawn = -1;
  for (let i = 0; i < out.length; i++) {
    const index = first + i * step;
    const block = Math.floor(index / 16);
    if (block !== drawn) philox4x32(words, [block % 2 ** 32, Math.floor(block / 2 ** 32), stream, 0], key);
    drawn = block;
    out[i] = (2 * philoxByte(words, index % 16) - 255) / ELEMENT_DIVISOR;
  }
}

/** A₀ (rank, in) of a module, by its path: it stays what it is whatever other modules there are. */
export function initialFactor(
  { rank, initSeed }: Pick<NolaDraws, "rank" | "initSeed">,
  module: string,
  input: number,
): Float32Array<ArrayBuffer> {
  const digest = createHash("sha256").update(module).digest();
  return kaimingUniform(rank, input, initSeed, digest.readUInt32LE(0));
}

/** Elements that a fingerprint covers, at most. */
const FINGERPRINT_ELEMENTS = 4096;

/**
 * SHA-256 of U's and V's shapes (bases, rank, length), each with its first elements, and of an A₀ (1, 4096) of a module
 * called "", all as f32. Another shape cuts the same stream otherwise, and nothing else in a file would tell.
 */
export function fingerprintOf(draws: NolaDraws): { readonly a: string; readonly b: string; readonly init: string } {
  const { bases, rank, maxIn, maxOut } = draws;
  const head = (stream: typeof U_STREAM | typeof V_STREAM, length: number) => {
    const elements = new Float64Array(Math.min(FINGERPRINT_ELEMENTS, bases * rank * length));
    fillElements(draws, stream, elements, 0);
    return sha256OfF32(Float32Array.from([bases, rank, length, ...elements]));
  };
  const init = initialFactor({ ...draws, rank: 1 }, "", FINGERPRINT_ELEMENTS);
  return { a: head(U_STREAM, maxIn), b: head(V_STREAM, maxOut), init: sha256OfF32(init) };
}
