import * as v from "valibot";
import { drawsFactors, FACTOR_GENERATORS, type FactorGenerator, type FactorsSpec } from "../frozen/drawing/factors.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { type JsonObject, toPlain } from "../../files/lossless-json.ts";
import type { FloatGrid } from "../../compute/random/names.ts";
import { drawnDimension, RECORD_KEYS } from "../frozen/record-keys.ts";
import { parseSettings } from "../base/config-keys.ts";
import type { Adapter } from "../adapter.ts";
import type { VeraConfig } from "./config.ts";

/** What an adapter records of its factors, so that they can be drawn again and a redraw that differs is noticed. */
export interface FactorsRecord {
  readonly generator: FactorGenerator;
  /** The shape they were drawn at: A (r, maxIn), B (maxOut, r). */
  readonly maxIn: number;
  readonly maxOut: number;
  /** The grid that elements were rounded to. */
  readonly dtype: FloatGrid;
  /** Hexadecimal SHA-256 of the first ≤ 4096 final elements as f32, in the order of drawing. */
  readonly sha256: { readonly a: string; readonly b: string };
}

const SCHEMA = v.object({ ...RECORD_KEYS, max_in: drawnDimension, max_out: drawnDimension });

/** What an adapter records of its factors. Throws `RandloraError` "format" for a value that makes no sense. */
export function recordOf({ bases, file }: Adapter): FactorsRecord | undefined {
  if (bases === undefined) return undefined;
  const read = parseSettings(v.object({ bases: SCHEMA }), { bases: toPlain(bases) }, file).bases;
  const { generator, max_in: maxIn, max_out: maxOut, dtype, sha256 } = read;
  if (drawsFactors(generator)) return { generator, maxIn, maxOut, dtype, sha256 };
  const cause = `"bases.generator" is ${generator}, which does not draw VeRA's factors`;
  throw new RandloraError("format", `${oneLine(file)}: ${cause}`, `they are drawn by ${FACTOR_GENERATORS.join(", ")}`);
}

/** The record as it is written. */
export function formatRecord({ generator, maxIn, maxOut, dtype, sha256 }: FactorsRecord): JsonObject {
  return { generator, max_in: maxIn, max_out: maxOut, dtype, sha256 };
}

/** What the record and the configuration say together. */
export function specOf(
  { generator, maxIn, maxOut, dtype }: Omit<FactorsRecord, "sha256">,
  { key, r }: Pick<VeraConfig, "key" | "r">,
): FactorsSpec {
  return { generator, key, r, maxIn, maxOut, grid: dtype };
}
