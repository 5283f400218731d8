import * as v from "valibot";
import { drawsFactors, FACTOR_GENERATORS } from "../../frozen/drawing/factors.ts";
import { RandloraError } from "../../../files/errors.ts";
import { BASES_SETTINGS } from "../../training/bases-settings.ts";

/** Settings that VeRA has beside those of all adapters. */
export const VERA_SETTINGS = {
  /** What λ_d begins with. */
  dInitial: v.pipe(v.number(), v.finite()),
  ...BASES_SETTINGS,
} as const;

export type VeraSettings = Readonly<v.InferOutput<v.StrictObjectSchema<typeof VERA_SETTINGS, undefined>>>;

/** Defaults for what was not given. @throws RandloraError `usage` for a generator that does not draw factors */
export function resolveVera(given: Partial<VeraSettings>): VeraSettings {
  const { dInitial = 0.1, basisSeed = "0", projections = true, compute = "auto" } = given;
  const { generator = FACTOR_GENERATORS[0] } = given;
  if (generator !== null && !drawsFactors(generator)) {
    const cause = `--generator ${generator} does not draw VeRA's factors`;
    throw new RandloraError("usage", cause, `they are drawn by ${FACTOR_GENERATORS.join(", ")}`);
  }
  return { dInitial, basisSeed, generator, projections, compute };
}
