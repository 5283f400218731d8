import type { Adapter } from "../adapter.ts";
import * as v from "valibot";
import { RandloraError } from "../../files/errors.ts";
import type { GeneratorName, FloatGrid } from "../../compute/random/names.ts";
import { oneLine } from "../../files/failure.ts";
import { type JsonObject, toPlain } from "../../files/lossless-json.ts";
import { drawnDimension, RECORD_KEYS } from "../frozen/record-keys.ts";
import { finiteNumber, parseSettings } from "../base/config-keys.ts";
import type { Pairing } from "../../compute/device/pairing.ts";

/** What an adapter records of its bases, so that they can be drawn again and a redraw that differs is noticed. */
export interface BasesRecord {
  readonly generator: GeneratorName;
  readonly pairing: Pairing;
  /** The shape they were drawn at: A (r, 1, min), B (max, ⌈min/r⌉, r). */
  readonly max: number;
  readonly min: number;
  /** RandLoRA-a alone: how many of the `max` rows of each base are those of Aⱼᵀ, below those of Bⱼ. */
  readonly rowsOfA?: number | undefined;
  /** The grid that normalized elements were rounded to. */
  readonly dtype: FloatGrid;
  /** Standard deviations that were divided by; absent where the generator normalizes nothing. */
  readonly stdA: number | undefined;
  readonly stdB: number | undefined;
  /** Hexadecimal SHA-256 of the first ≤ 4096 final elements as f32, in the order of drawing. */
  readonly sha256: { readonly a: string; readonly b: string };
}

const std = v.nullish(v.pipe(finiteNumber, v.gtValue(0, "it must be positive")));

const SCHEMA = v.object({
  ...RECORD_KEYS,
  pairing: v.optional(v.picklist(["peft", "paper"], 'it must be "peft" or "paper"'), "peft"),
  max: drawnDimension,
  min: drawnDimension,
  rows_of_a: v.nullish(drawnDimension),
  std_a: std,
  std_b: std,
});

/**
 * Reads `bases` of adapter.json (or `randlora_bases` of a PEFT file). `file` is named in errors.
 * Throws `RandloraError` "format" for an unknown generator or a value that makes no sense.
 */
export function parseBasesRecord(record: JsonObject, file: string): BasesRecord {
  const read = parseSettings(v.object({ bases: SCHEMA }), { bases: toPlain(record) }, file).bases;
  const { generator, pairing, max, min, dtype, sha256: hashes } = read;
  if (min > max) {
    const cause = `"bases.min" is ${min}, more than "bases.max", which is ${max}`;
    throw new RandloraError("format", `${oneLine(file)}: ${cause}`, "min is the smaller dimension of the bases");
  }
  if (read.rows_of_a !== min && typeof read.rows_of_a === "number") {
    const cause = `"bases.rows_of_a" is ${read.rows_of_a}, but "bases.min" is ${min}`;
    throw new RandloraError("format", `${oneLine(file)}: ${cause}`, "A has as many columns as bases have rows of it");
  }
  return {
    generator,
    pairing,
    max,
    min,
    rowsOfA: read.rows_of_a ?? undefined,
    dtype,
    stdA: read.std_a ?? undefined,
    stdB: read.std_b ?? undefined,
    sha256: hashes,
  };
}

/** The record as it is written. */
export function formatBasesRecord(record: BasesRecord): JsonObject {
  const { generator, pairing, max, min, rowsOfA, dtype, stdA, stdB, sha256 } = record;
  return {
    generator,
    pairing,
    max,
    min,
    ...(rowsOfA === undefined ? {} : { rows_of_a: rowsOfA }),
    dtype,
    ...(stdA === undefined ? {} : { std_a: stdA }),
    ...(stdB === undefined ? {} : { std_b: stdB }),
    sha256,
  };
}

/** What an adapter records of its random bases. */
export function recordOf(adapter: Adapter): BasesRecord | undefined {
  return adapter.bases === undefined ? undefined : parseBasesRecord(adapter.bases, adapter.file);
}
