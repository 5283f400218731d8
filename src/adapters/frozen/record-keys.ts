import * as v from "valibot";
import { GENERATOR_NAMES } from "../../compute/random/names.ts";
import { positiveInteger } from "../base/config-keys.ts";

const SHA = "it must be a SHA-256 in hexadecimal";
/** A fingerprint. */
export const sha256 = v.pipe(v.string(SHA), v.regex(/^[0-9a-fA-F]{64}$/, SHA), v.toLowerCase());

/** A dimension of the shape that bases were drawn at. */
export const drawnDimension = v.pipe(positiveInteger, v.maxValue(2 ** 31, "it must be at most 2^31"));

/** What every method's record of its bases has (`bases` of adapter.json). */
export const RECORD_KEYS = {
  generator: v.picklist(GENERATOR_NAMES, `it must be one of ${GENERATOR_NAMES.join(", ")}`),
  dtype: v.picklist(["f32", "bf16", "f16"], 'it must be "f32", "bf16" or "f16"'),
  sha256: v.object({ a: sha256, b: sha256 }, "it must hold the hashes a and b"),
};
