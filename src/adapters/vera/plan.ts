import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import type { Adapter, WrittenSettings } from "../files/adapter.ts";
import type { BaseModel } from "../base/base.ts";
import { bilinearDeltas, type BilinearLayer } from "../delta/scaled-bases/delta.ts";
import { type BilinearShape, bilinearShape } from "../delta/scaled-bases/shape.ts";
import { isShared, sharedName, readF32 } from "../files/tensors.ts";
import { fitAdapter, type TrainedTensors } from "../method/fit.ts";
import type { BasesExtent } from "../frozen/drawing/bases.ts";
import type { FrozenRecord, Drawn, FrozenKind, FrozenSettings } from "../frozen/kind.ts";
import { chooseFrozen, type FrozenChoice, loadFrozen, sizesOf } from "../frozen/origin.ts";
import type { AdapterPlan, PlanOptions } from "../method/plan.ts";
import * as v from "valibot";
import { readElement } from "../../compute/device/matrix-storage.ts";
import type { FloatGrid } from "../../compute/random/names.ts";
import { sha256OfF32 } from "../../compute/random/sha256.ts";
import { itemAt } from "../../files/item-at.ts";
import { toPlain } from "../../files/lossless-json.ts";
import {
  drawnDimension,
  parseSettings,
  RECORD_KEYS,
  biasKey,
  dropoutShare,
  finiteNumber,
  LAYER_KEYS,
  layerSettings,
  type LayerSettings,
  positiveInteger,
  prngKey,
} from "../base/config-keys.ts";
import {
  drawFactorHeads,
  drawFactors,
  drawsFactors,
  FACTOR_GENERATORS,
  type FactorsSpec,
  savedFactors,
} from "../frozen/drawing/factors.ts";

/** PEFT's VeraConfig, understood. Defaults are PEFT's. */
interface VeraConfig extends LayerSettings {
  readonly r: number;
  /** `projection_prng_key`: the seed of the factors, −2^63 ≤ key < 2^64. */
  readonly key: bigint;
  /** Whether the file is meant to hold the factors. */
  readonly saveProjection: boolean;
  /** What λ_d began with. */
  readonly dInitial: number;
}

const CONFIG = v.object({
  r: v.optional(positiveInteger, 256),
  projection_prng_key: v.optional(prngKey, 0n),
  save_projection: v.nullish(v.boolean("it must be true or false"), true),
  vera_dropout: dropoutShare,
  d_initial: v.optional(finiteNumber, 0.1),
  bias: biasKey("vera_only"),
  ...LAYER_KEYS,
});

/**
 * Reads PEFT's settings for VeRA (peft/tuners/vera/config.py).
 * Throws `RandloraError` "format" for a value that makes no sense.
 */
export function veraConfig({ settings, configFile: file }: WrittenSettings): VeraConfig {
  const read = parseSettings(CONFIG, settings, file);
  return {
    r: read.r,
    key: read.projection_prng_key,
    saveProjection: read.save_projection,
    dInitial: read.d_initial,
    ...layerSettings(read, file),
  };
}

/** What the two factors are drawn at: A (r, maxIn), B (maxOut, r). */
interface FactorsSizes {
  readonly maxIn: number;
  readonly maxOut: number;
}

const RECORD = v.object({ ...RECORD_KEYS, max_in: drawnDimension, max_out: drawnDimension });
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
    const read = parseSettings(v.object({ bases: RECORD }), { bases: toPlain(bases) }, file).bases;
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

/**
 * The sizes of a module as VeRA has it (Kopiczko et al., arXiv:2310.11454): ΔW = diag(λ_b)·B·diag(λ_d)·A. Read from its
 * other side, ΔWᵀ = Aᵀ·diag(λ_d)·Bᵀ·diag(λ_b), it is one basis of bilinear/, whatever is larger: B̂ is Aᵀ (in, r), A is
 * Bᵀ (r, out), λ (r, 1) is λ_d, γ (1, out) is λ_b.
 */
export function veraShape(out: number, input: number, r: number): BilinearShape {
  return bilinearShape({ out, in: input, r, bases: 1, tall: false });
}

/** With one basis both pairings are the same; this one lets kernels read γ once and A row by row. */
export const VERA_PAIRING = "paper";

/** Numbers in λ_d (r) and λ_b (out) of a module. */
export function trainedNumbers(out: number, r: number): number {
  return r + out;
}

/** What VeRA trains of a module: λ_b, which is γ (1, out) of one basis, and λ_d, which is its λ (r, 1). */
export const VERA_TENSORS: TrainedTensors<Pick<VeraConfig, "r">, "gamma" | "lambda"> = {
  names: { gamma: "vera_lambda_b", lambda: "vera_lambda_d" },
  shapes: ({ r }, { out }) => ({ gamma: [out], lambda: [r] }),
  meaning: "λ_d is (r) and λ_b (out)",
};

/** Everything that applying a VeRA adapter to a base takes, checked; no tensor has been read yet. */
export interface VeraPlan extends AdapterPlan, FrozenChoice<FactorsSizes, FrozenRecord & FactorsSizes> {
  readonly config: VeraConfig;
  readonly layers: readonly BilinearLayer[];
  /** How far the layers need the factors, which are held as their transposes. */
  readonly extent: BasesExtent;
}

/**
 * Fits a VeRA adapter (Kopiczko et al., arXiv:2310.11454) to a base: finds each adapted weight, checks every shape, decides
 * where the factors come from. Throws `RandloraError` "adapter" with the reason when it cannot be applied.
 */
export function planVera(adapter: Adapter, base: BaseModel, options: PlanOptions = {}): VeraPlan {
  const config = veraConfig(adapter);
  const isOwn = (name: string) => isShared(name, VERA_FACTORS);
  const fit = fitAdapter(adapter, base, config, VERA_TENSORS, { isOwn });
  const { shift } = fit;
  const layers = fit.layers.map((layer): BilinearLayer => {
    return { ...layer, sizes: veraShape(layer.out, layer.in, config.r) };
  });
  const choice = chooseFrozen(VERA_FACTORS, { adapter, config, base, shift, layers }, options);
  requireLargeEnough(adapter, sizesOf(choice.origin), layers);
  const { maxIn, maxOut } = VERA_FACTORS.sizesFor(layers);
  const extent = { rows: maxIn, bases: 1, cols: maxOut };
  return {
    ...fit,
    ...choice,
    layers,
    extent,
    // PEFT's vera/layer.py, merge: ΔW is f32, as the factors are once they are cast back, and is added as it is.
    roundsDelta: false,
    load: async (signal) =>
      bilinearDeltas(
        { adapter, layers, pairing: VERA_PAIRING, scale: 1 },
        await loadFrozen(VERA_FACTORS, adapter.file, choice.origin, config, extent, { signal }),
      ),
  };
}

/** PEFT refuses a layer beyond the factors, too (tuners/vera/layer.py, update_layer). */
function requireLargeEnough(adapter: Adapter, { maxIn, maxOut }: FactorsSizes, layers: readonly BilinearLayer[]): void {
  const beyond = layers.find(({ out, in: input }) => out > maxOut || input > maxIn);
  if (beyond === undefined) return;
  const layer = `${quote(beyond.module)} is (${beyond.out}, ${beyond.in})`;
  const cause = `${layer}, and the random factors are for at most ${maxOut} outputs and ${maxIn} inputs`;
  const hint = "the adapter belongs to another model, or its recorded shape is wrong";
  throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${cause}`, hint);
}
