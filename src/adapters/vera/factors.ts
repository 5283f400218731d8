import * as v from "valibot";
import { readElement } from "../../compute/device/matrix-storage.ts";
import type { FloatGrid } from "../../compute/random/names.ts";
import { sha256OfF32 } from "../../compute/random/sha256.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import { itemAt } from "../../files/item-at.ts";
import { toPlain } from "../../files/lossless-json.ts";
import { drawnDimension, parseSettings, RECORD_KEYS } from "../base/config-keys.ts";
import { sharedName } from "../files/shared-tensors.ts";
import {
  drawFactorHeads,
  drawFactors,
  drawsFactors,
  FACTOR_GENERATORS,
  type FactorsSpec,
  savedFactors,
} from "../frozen/drawing/factors.ts";
import type { Drawn, FrozenKind, FrozenRecord, FrozenSettings } from "../frozen/kind.ts";
import { readF32 } from "../files/values.ts";
import { veraConfig } from "./config.ts";

/** What the two factors are drawn at: A (r, maxIn), B (maxOut, r). */
export interface FactorsSizes {
  readonly maxIn: number;
  readonly maxOut: number;
}

const SCHEMA = v.object({ ...RECORD_KEYS, max_in: drawnDimension, max_out: drawnDimension });
/** Elements that a fingerprint covers, at most. */
const HEAD = 4096;
const GRIDS: readonly FloatGrid[] = ["f32", "bf16", "f16"];
const DRAWN_BY = `they are drawn by ${FACTOR_GENERATORS.join(", ")}`;

/** VeRA's two random factors. They are held as their transposes, bases of ΔWᵀ (see `veraShape`). */
export const VERA_FACTORS: FrozenKind<FrozenSettings, FactorsSizes, FrozenRecord & FactorsSizes> = {
  shared: ["vera_A", "vera_B"],
  meaning: "A is (r, max_in) and B (max_out, r)",
  shapes: ({ maxIn, maxOut }, r) => ({ a: [r, maxIn], b: [maxOut, r] }),
  sizes(a, b, r) {
    const [rank, maxIn = 0] = a;
    const [maxOut = 0, rankB] = b;
    const odd = a.length !== 2 || b.length !== 2 || maxIn < 1 || maxOut < 1 || rank !== r || rankB !== r;
    return odd ? undefined : { maxIn, maxOut };
  },
  sizesFor: (modules) => ({
    maxIn: modules.reduce((most, module) => Math.max(most, module.in), 0),
    maxOut: modules.reduce((most, { out }) => Math.max(most, out), 0),
  }),
  parse(bases, file) {
    const read = parseSettings(v.object({ bases: SCHEMA }), { bases: toPlain(bases) }, file).bases;
    const { generator, max_in: maxIn, max_out: maxOut, dtype, sha256 } = read;
    if (drawsFactors(generator)) return { generator, maxIn, maxOut, dtype, sha256 };
    const cause = `"bases.generator" is ${generator}, which does not draw VeRA's factors`;
    throw new RandloraError("format", `${oneLine(file)}: ${cause}`, DRAWN_BY);
  },
  format: ({ generator, maxIn, maxOut, dtype, sha256 }) => {
    return { generator, max_in: maxIn, max_out: maxOut, dtype, sha256: { ...sha256 } };
  },
  record: ({ generator, dtype, maxIn, maxOut }, { sha256 }) => ({ generator, dtype, maxIn, maxOut, sha256 }),
  unfit: (generator) =>
    drawsFactors(generator) ? undefined : { cause: `${generator} does not draw VeRA's factors`, hint: DRAWN_BY },
  unrecorded(adapter, _, asked) {
    const [a, b] = this.shared.map((name) => quote(sharedName(name)));
    if (!veraConfig(adapter).saveProjection) return asked ?? FACTOR_GENERATORS[0];
    // PEFT refuses it, too (vera/model.py, _remap_adapter_state_dict_for_load).
    const cause = `"save_projection" is true, but ${a} and ${b} are not in ${oneLine(adapter.file)}`;
    const hint =
      'save the adapter again; if it was saved without them, set "save_projection" to false: they are drawn from the seed';
    throw new RandloraError("adapter", `${oneLine(adapter.configFile)}: ${cause}`, hint);
  },
  candidates: () => FACTOR_GENERATORS.map((generator) => [generator, GRIDS]),
  peftDraws: ({ generator }) => generator === "torch-mt19937-f32",
  draw: (drawn, config, { rows, cols }) => drawFactors(specOf(drawn, config), { in: rows, out: cols }),
  whole: ({ maxIn, maxOut }) => ({ rows: maxIn, bases: 1, cols: maxOut }),
  fill(bases, which, first, out) {
    const held = which === "a" ? bases.b : bases.a;
    for (let i = 0; i < out.length; i++) {
      out[i] = readElement(held, (first + i) % held.rows, Math.floor((first + i) / held.rows));
    }
  },
  // oxlint-disable-next-line require-yield -- a few thousand elements
  *print(drawn, config) {
    const { a, b } = drawFactorHeads(specOf(drawn, config), HEAD);
    return { sha256: { a: sha256OfF32(a), b: sha256OfF32(b) } };
  },
  async headOf(_, tensor, generator, count) {
    if (generator !== "philox-v1") return await readF32(tensor, 0, count);
    // It counts through the transposes, as they are held.
    const [rows = 0, cols = 0] = tensor.shape;
    const all = await readF32(tensor, 0, rows * cols);
    return all.slice(0, count).map((_, i) => itemAt(all, (i % rows) * cols + Math.floor(i / rows)));
  },
  pack: ({ a, b }, _, { rows, cols }, signal) => savedFactors(a, b, { in: rows, out: cols }, signal),
  unknown: "does not say what drew its bases, and neither does the result: they are drawn as PEFT draws them",
  undrawn: "at which shape they were drawn",
};

function specOf({ generator, dtype, maxIn, maxOut }: Drawn<FactorsSizes>, { key, r }: FrozenSettings): FactorsSpec {
  if (!drawsFactors(generator)) throw new TypeError(`${generator} draws no factors`);
  return { generator, key, r, maxIn, maxOut, grid: dtype };
}
