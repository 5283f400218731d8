import type { FloatGrid, GeneratorName } from "../../compute/random/names.ts";
import type { JsonObject } from "../../files/lossless-json.ts";
import type { Adapter, AdapterTensor } from "../files/adapter.ts";
import type { Bases, BasesExtent, Steps } from "./drawing/bases.ts";
import type { SavedProjection } from "./drawing/saved.ts";
import type { StdCache } from "../files/std-cache.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";

/**
 * A pair of random matrices that all layers of an adapter share and none trains: what a method says of its own, so that
 * this folder finds, draws, recognizes, records and saves any.
 * `C`: the method's settings, `Z`: the sizes that the pair is drawn at, `R`: what files record of it.
 */
export interface FrozenKind<C extends FrozenSettings, Z, R extends FrozenRecord & Z> {
  /** What PEFT calls the two. */
  readonly shared: readonly [a: string, b: string];
  /** Their shapes in a file, in words, for hints. */
  readonly meaning: string;
  shapes(sizes: Z, r: number): { readonly a: readonly number[]; readonly b: readonly number[] };
  /** The sizes of a pair in a file; undefined for shapes that make none. */
  sizes(a: readonly number[], b: readonly number[], r: number): Z | undefined;
  /** The sizes that PEFT draws at for modules that are (out, in). */
  sizesFor(modules: readonly { readonly out: number; readonly in: number }[]): Z;
  /** Reads `bases` of adapter.json; `file` is named in errors. @throws RandloraError `format` */
  parse(bases: JsonObject, file: string): R;
  /** The record as it is written. */
  format(record: R): JsonObject;
  /** What is recorded of a pair that was drawn. */
  record(drawn: Drawn<Z>, print: FrozenPrint, config: C): R;
  /** Why a generator does not draw such matrices, and which do; undefined where it does. */
  unfit(generator: GeneratorName, config: C): { readonly cause: string; readonly hint: string } | undefined;
  /**
   * What draws a pair of which the file says nothing.
   * @param asked what the user names
   * @throws RandloraError `adapter` where that would be a guess
   */
  unrecorded(adapter: Adapter, config: C, asked: GeneratorName | undefined): GeneratorName;
  /** What may have drawn a saved pair, the likeliest first, with the grids it may have been rounded to. */
  candidates(config: C): readonly (readonly [GeneratorName, readonly FloatGrid[]])[];
  /** Has PEFT what drew it? It draws from the seed in its own way, whatever the metadata say. */
  peftDraws(record: R): boolean;
  /** Draws as much as is needed. @throws RandloraError `adapter` for sizes that are too large */
  draw(drawn: Drawn<Z>, config: C, extent: BasesExtent, cache: StdCache): Steps<Bases>;
  /** All of it. */
  whole(sizes: Z, r: number): BasesExtent;
  /** Elements of a whole pair from `first` on, in the order of the two tensors in a file. */
  fill(bases: Bases, which: "a" | "b", first: number, out: Float32Array<ArrayBuffer>): void;
  /** Hashes of the first elements, and what else a redraw is told. */
  print(drawn: Drawn<Z>, config: C, cache: StdCache): Steps<FrozenPrint>;
  /** The same elements of a pair in a file, in the order of drawing. */
  headOf(which: "a" | "b", tensor: AdapterTensor, generator: GeneratorName, count: number): Promise<Float32Array>;
  /** Packs as much of a saved pair as is needed. @throws RandloraError `numeric`, `adapter` */
  pack(pair: SavedMatrices, r: number, extent: BasesExtent, signal: AbortSignal | undefined): Promise<Bases>;
  /** What a result of a conversion is like that neither holds nor records the pair. */
  readonly unknown: string;
  /** What else nobody knows where a pair cannot be drawn. */
  readonly undrawn: string;
}

/** The settings that say how a pair is drawn. */
export interface FrozenSettings {
  readonly r: number;
  /** `projection_prng_key`, −2^63 ≤ key < 2^64. */
  readonly key: bigint;
}

/** With the settings, all that determines a pair's elements. */
export type Drawn<Z> = Z & {
  readonly generator: GeneratorName;
  /** The grid that elements are rounded to. */
  readonly dtype: FloatGrid;
};

/** What every record of a pair has. */
export type FrozenRecord = Drawn<object> & FrozenPrint;

/** What shows that a redraw is the same. */
export interface FrozenPrint {
  /** Standard deviations that were divided by; undefined where the generator normalizes nothing. */
  readonly stdA?: number | undefined;
  readonly stdB?: number | undefined;
  /** Hexadecimal SHA-256 of the first ≤ 4096 final elements as f32, in the order of drawing. */
  readonly sha256: { readonly a: string; readonly b: string };
}

/** A pair as a file holds it. */
export interface SavedTensors {
  readonly a: AdapterTensor;
  readonly b: AdapterTensor;
}

/** The same as matrices. */
export interface SavedMatrices {
  readonly a: SavedProjection;
  readonly b: SavedProjection;
}

/**
 * The grid that PEFT's bases end on, of the stored dtypes of the adapted weights: each adapted layer in turn casts the
 * shared pair to its weight's dtype, so a single 16-bit layer is enough. Undefined for a base that mixes F16 and BF16.
 */
export function gridOfWeights(dtypes: Iterable<string>): FloatGrid | undefined {
  const stored = new Set(dtypes);
  if (stored.has("BF16") && stored.has("F16")) return undefined;
  return stored.has("BF16") ? "bf16" : stored.has("F16") ? "f16" : "f32";
}

/** The same for an adapter that exists. @throws RandloraError `adapter` for a base that mixes them */
export function gridOfLayers(layers: readonly { readonly dtype: string }[], { path }: Adapter): FloatGrid {
  const grid = gridOfWeights(layers.map(({ dtype }) => dtype));
  if (grid !== undefined) return grid;
  const cause = "the base mixes F16 and BF16 weights, and the adapter does not record the dtype of its bases";
  throw new RandloraError("adapter", `${oneLine(path)}: ${cause}`, "save the adapter with its projections");
}

/**
 * The same for a new adapter, beside a base that is held as `dtype`. One that mixes F16 and BF16 has no such grid, and its
 * bases are saved, whatever they were rounded to.
 */
export function gridOfHeld(dtype: FloatGrid | "keep", stored: Iterable<string>): FloatGrid {
  return dtype === "keep" ? (gridOfWeights(stored) ?? "bf16") : dtype;
}
