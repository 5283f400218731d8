import * as v from "valibot";
import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { type JsonObject, toPlain } from "../../files/lossless-json.ts";
import { drawnDimension, sha256 } from "../frozen/record-keys.ts";
import { parseSettings } from "../base/config-keys.ts";
import type { Adapter } from "../adapter.ts";
import type { NolaConfig } from "./config.ts";
import { fingerprintOf, type NolaDraws } from "./draws.ts";

/** The one generator: numbers from the device, as the authors' code draws them, cannot be drawn again. */
export const GENERATOR = "philox-v1";

const SEED = "it must be an integer from 0 to 2^53 − 1";

const SCHEMA = v.object({
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
  const read = parseSettings(v.object({ bases: SCHEMA }), { bases: toPlain(record) }, file).bases;
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
