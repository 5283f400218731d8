import * as v from "valibot";
import { THETA_BLOCK, type ThetaKey, type ThetaLayer } from "../../compute/device/families/theta.ts";
import { philoxKey } from "../../compute/random/philox.ts";
import { sha256OfF32 } from "../../compute/random/sha256.ts";
import { thetaElement } from "../../compute/random/theta.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import { itemAt } from "../../files/item-at.ts";
import { fromBigInt, type JsonObject, toPlain } from "../../files/lossless-json.ts";
import type { Adapter } from "../files/adapter.ts";
import { drawnDimension, parseSettings, prngKey, sha256 } from "../base/config-keys.ts";
import type { DeltaSample } from "../method/plan.ts";

/*
 * The bases θ_i of PRANC (Nooralinejad et al., arXiv:2206.08464) as philox-v1 draws them. Basis i is one long vector over
 * all adapted layers: those of the record, one after the other, each begins at a multiple of 16 elements, its own are in
 * the order of ΔW (out, in), row by row. Element e of basis i is byte e mod 16, little-endian, of the words
 *
 *   philox4x32_10(counter = (low, high 32 bits of ⌊e / 16⌋, i, 1), key = (low, high 32 bits of the seed))
 *
 * The last word of the counter, 1, sets them apart from RandLoRA's bases, whose is 0. Byte b stands for (2b − 255)/255: 256
 * numbers evenly from −1 to 1. In a layer that is times 1/√in: a basis is the network as PyTorch initializes it
 * (nn.Linear: uniform within ±1/√in).
 */

export type { ThetaKey } from "../../compute/device/families/theta.ts";

/** Elements that a fingerprint covers. */
const HEAD = 4096;

/**
 * SHA-256 of the first 4096 elements of basis 0, as little-endian f32, and of the layers in their order, a line
 * `MODULE OUT IN` each: a redraw that differs is noticed, and so are layers that were exchanged.
 */
export function thetaFingerprint(
  key: ThetaKey,
  layers: readonly { readonly module: string; readonly out: number; readonly in: number }[],
): string {
  const head = Float32Array.from({ length: HEAD }, (_, at) => thetaElement(key, 0, at));
  const lines = layers.map(({ module, out, in: input }) => `${module} ${out} ${input}\n`).join("");
  return sha256OfF32(head, lines);
}

/** Where each layer begins in the bases, in elements. */
export function thetaOffsets(layers: readonly { readonly out: number; readonly in: number }[]): number[] {
  let end = 0;
  return layers.map(({ out, in: input }) => {
    const begin = end;
    end += Math.ceil((out * input) / THETA_BLOCK) * THETA_BLOCK;
    return begin;
  });
}

/**
 * What one coefficient of size 1 multiplies a layer's elements by, of which each is within ±1: alpha/√K/√in. With K
 * coefficients from N(0, 1), and alpha 1, ΔW is as large as another initialization of the layer.
 */
export function thetaScale(alpha: number, bases: number, input: number): number {
  return alpha / Math.sqrt(bases * input);
}

/** A layer of the record: ΔW is (out, in). */
export interface RecordedModule {
  /** As the adapter names it. */
  readonly module: string;
  readonly out: number;
  readonly in: number;
}

/** What determines every element of the bases. */
export interface PrancRecord {
  /** −2^63 ≤ seed < 2^64. */
  readonly seed: bigint;
  /** In the order in which they lie in the bases. */
  readonly modules: readonly RecordedModule[];
}

/** What draws the bases; nothing else can. */
export const PRANC_GENERATOR = "philox-v1";

const SHAPE = "it must be the two sizes of a matrix, out and in";

const SCHEMA = v.object({
  generator: v.literal(PRANC_GENERATOR, `it must be ${PRANC_GENERATOR}`),
  seed: prngKey,
  modules: v.pipe(
    v.array(
      v.object({
        module: v.string("it must be a module's path"),
        shape: v.strictTuple([drawnDimension, drawnDimension], SHAPE),
      }),
      "it must be the list of adapted modules",
    ),
    v.minLength(1, "it must name the adapted modules"),
  ),
  sha256,
});

/**
 * What an open adapter records of its bases, and that they are drawn here as they were where it was made.
 * @throws RandloraError `format` where the record is missing or makes no sense, `adapter` for bases that are drawn otherwise
 */
export function prancRecord({ bases, file }: Adapter): PrancRecord {
  if (bases === undefined) {
    const cause = "it does not record its bases: seed, modules and their order";
    const hint = "they are in the metadata of adapter_model.safetensors (randlora_bases): take the original file";
    throw new RandloraError("format", `${oneLine(file)}: ${cause}`, hint);
  }
  const read = parseSettings(v.object({ bases: SCHEMA }), { bases: toPlain(bases) }, file).bases;
  const modules = read.modules.map(({ module, shape: [out, input] }) => ({ module, out, in: input }));
  const names = new Set(modules.map(({ module }) => module));
  const refuse = (code: "format" | "adapter", cause: string) =>
    new RandloraError(
      code,
      `${oneLine(file)}: ${cause}`,
      "the file was changed after it was written: use the original",
    );
  if (names.size < modules.length) {
    const twice = modules.find(({ module }, at) => modules.findIndex((other) => other.module === module) < at);
    throw refuse("format", `"bases.modules" names ${quote(twice?.module ?? "")} twice`);
  }
  if (!Number.isSafeInteger(thetaOffsets([...modules, { out: 1, in: 1 }]).at(-1))) {
    throw refuse("format", '"bases.modules" are of more than 2^53 elements together');
  }
  if (thetaFingerprint(philoxKey(read.seed), modules) !== read.sha256) {
    throw refuse(
      "adapter",
      `${PRANC_GENERATOR} does not draw the bases that it records ("bases.sha256"), or their modules were changed`,
    );
  }
  return { seed: read.seed, modules };
}

/** The record as it is written. */
export function formatPrancRecord({ seed, modules }: PrancRecord): JsonObject {
  return {
    generator: PRANC_GENERATOR,
    seed: fromBigInt(seed),
    modules: modules.map(({ module, out, in: input }) => ({ module, shape: [out, input] })),
    sha256: thetaFingerprint(philoxKey(seed), modules),
  };
}

/** scale · Σ_i α_i θ_i of one layer, (out, in), in f64 at a sample of its elements, row-major: the yardstick. Slow. */
export function thetaReference(
  { in: input, offset, scale }: ThetaLayer,
  coefficients: ArrayLike<number>,
  key: ThetaKey,
  { rows, cols }: DeltaSample,
): Float64Array {
  const delta = new Float64Array(rows.length * cols.length);
  for (const [i, row] of rows.entries()) {
    for (const [j, col] of cols.entries()) {
      let sum = 0;
      for (let basis = 0; basis < coefficients.length; basis++) {
        sum += itemAt(coefficients, basis) * thetaElement(key, basis, offset + row * input + col);
      }
      delta[i * cols.length + j] = scale * sum;
    }
  }
  return delta;
}
