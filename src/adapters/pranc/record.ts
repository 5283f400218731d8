import * as v from "valibot";
import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import { fromBigInt, type JsonObject, toPlain } from "../../files/lossless-json.ts";
import { drawnDimension, sha256 } from "../frozen/record-keys.ts";
import { parseSettings, prngKey } from "../base/config-keys.ts";
import type { Adapter } from "../adapter.ts";
import { thetaFingerprint, thetaOffsets } from "./stream.ts";
import { philoxKey } from "../../compute/random/philox.ts";

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
