import { createHash } from "node:crypto";
import * as v from "valibot";
import { kaimingUniform } from "../../compute/random/kaiming.ts";
import { philox4x32, philoxByte, philoxKey } from "../../compute/random/philox.ts";
import { sha256OfF32 } from "../../compute/random/sha256.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { type JsonObject, toPlain } from "../../files/lossless-json.ts";
import type { Adapter, WrittenSettings } from "../files/adapter.ts";
import {
  drawnDimension,
  parseSettings,
  sha256,
  biasKey,
  dropoutShare,
  finiteNumber,
  LAYER_KEYS,
  layerSettings,
  type LayerSettings,
  positiveInteger,
  prngKey,
} from "../base/config-keys.ts";

/** PEFT has no NoLA, and refuses this. */
export const PEFT_TYPE = "NOLA";

/** The settings of a NoLA adapter, in PEFT's manner. */
export interface NolaConfig extends LayerSettings {
  readonly r: number;
  /** ΔW is scaled by alpha / r. */
  readonly alpha: number;
  /** k: coefficients of A, and of B, of each module. */
  readonly bases: number;
  /** `projection_prng_key`: the seed of the bases, −2^63 ≤ key < 2^64. */
  readonly key: bigint;
}

/** More are never of use: they would be as many as a large weight has elements. */
export const MOST_BASES = 2 ** 24;

const COUNT = "it must be an integer from 1 to 2^24";
const count = v.pipe(positiveInteger, v.maxValue(MOST_BASES, COUNT));

// Nobody else writes such files: what decides about ΔW has no default.
const CONFIG = v.object({
  r: count,
  nola_alpha: finiteNumber,
  num_bases: count,
  projection_prng_key: prngKey,
  nola_dropout: dropoutShare,
  bias: biasKey("nola_only"),
  ...LAYER_KEYS,
});

/** Throws `RandloraError` "format" for a value that is missing or makes no sense. */
export function nolaConfig({ settings, configFile: file }: WrittenSettings): NolaConfig {
  const read = parseSettings(CONFIG, settings, file);
  return {
    r: read.r,
    alpha: read.nola_alpha,
    bases: read.num_bases,
    key: read.projection_prng_key,
    ...layerSettings(read, file),
  };
}

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

/** The one generator: numbers from the device, as the authors' code draws them, cannot be drawn again. */
export const GENERATOR = "philox-v1";

const SEED = "it must be an integer from 0 to 2^53 − 1";

const RECORD = v.object({
  generator: v.picklist([GENERATOR], `it must be ${GENERATOR}`),
  max_in: drawnDimension,
  max_out: drawnDimension,
  init_seed: v.pipe(v.number(SEED), v.safeInteger(SEED), v.minValue(0, SEED)),
  sha256: v.object({ a: sha256, b: sha256, init: sha256 }, "it must hold the hashes a, b and init"),
});

/** `bases` as it is written: with the configuration, all that the draws depend on, and what shows that they are the same. */
export function formatRecord(draws: NolaDraws): JsonObject {
  return {
    generator: GENERATOR,
    max_in: draws.maxIn,
    max_out: draws.maxOut,
    init_seed: draws.initSeed,
    sha256: { ...fingerprintOf(draws) },
  };
}

/**
 * What an adapter's random numbers depend on.
 * Throws `RandloraError` "format" for a record that is missing or makes no sense, "adapter" where other numbers would be
 * drawn than those that it was trained with.
 */
export function drawsOf({ bases: record, file }: Adapter, { r, bases, key }: NolaConfig): NolaDraws {
  if (record === undefined) {
    const cause = "it does not record what its random numbers were drawn by";
    throw new RandloraError("format", `${oneLine(file)}: ${cause}`, "the file is incomplete: take the original");
  }
  const read = parseSettings(v.object({ bases: RECORD }), { bases: toPlain(record) }, file).bases;
  const { max_in: maxIn, max_out: maxOut, init_seed: initSeed, sha256: hashes } = read;
  const draws = { key, bases, rank: r, maxIn, maxOut, initSeed };
  if (Math.max(maxIn, maxOut) * r >= 2 ** 32) {
    const cause = `factors of rank ${r} at ${maxOut} × ${maxIn} have 2^32 elements or more`;
    throw new RandloraError("format", `${oneLine(file)}: ${cause}`, "its settings are damaged");
  }
  const found = fingerprintOf(draws);
  if (found.a === hashes.a && found.b === hashes.b && found.init === hashes.init) return draws;
  const cause = `the numbers that ${GENERATOR} draws are not those that the adapter records`;
  const hint = "a seed, the rank, its bases or shapes were changed, or another version of randlora wrote it";
  throw new RandloraError("adapter", `${oneLine(file)}: ${cause}`, hint);
}
