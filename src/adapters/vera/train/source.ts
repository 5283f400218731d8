import type { Bases } from "../../frozen/drawing/bases.ts";
import { drawFactors, drawsFactors } from "../../frozen/drawing/factors.ts";
import { takeSteps } from "../../frozen/drawing/steps.ts";
import { fromBigInt, type JsonObject } from "../../../files/lossless-json.ts";
import { roundToGrid } from "../../../compute/random/grid.ts";
import type { BaseModel } from "../../base/base.ts";
import type { BasesFrom } from "../../delta/scaled-bases/place.ts";
import { gridOfHeld, gridOfWeights } from "../../frozen/grid.ts";
import type { OpenInput } from "../../training/definition.ts";
import { once } from "../../files/once.ts";
import { refuseMore } from "../../training/existing.ts";
import { newConfig } from "../../training/new-config.ts";
import type { AdapterSettings } from "../../training/settings.ts";
import type { Targets } from "../../base/target-modules.ts";
import type { Adapter } from "../../adapter.ts";
import { readAllValues } from "../../files/values.ts";
import type { VeraConfig } from "../config.ts";
import { canPeftDraw } from "../convert.ts";
import { planVera } from "../plan.ts";
import { type FactorsRecord, formatRecord, recordOf, specOf } from "../record.ts";
import type { SavedFactors } from "../saved.ts";
import { extentOf, type FactorsSource, loadFactors, recordFactors } from "../source.ts";
import { drawFactorTensors } from "../tensors.ts";
import type { VeraSettings } from "./settings.ts";

/** One module that VeRA adapts. */
export interface VeraModule {
  /** As adapters name it. */
  readonly name: string;
  /** Its weight in the checkpoint. */
  readonly tensor: string;
  readonly out: number;
  readonly in: number;
  /** λ_d and λ_b before training. */
  readonly values: { readonly lambda: Float32Array<ArrayBuffer>; readonly gamma: Float32Array<ArrayBuffer> };
}

/** A VeRA adapter before it is trained: new, or one that exists. Everything of it that no GPU is needed for. */
export interface VeraSource {
  readonly r: number;
  readonly modules: readonly VeraModule[];
  readonly bases: Bases;
  readonly basesFrom: BasesFrom;
  /** What draws the factors, where that is known. */
  readonly record: JsonObject | undefined;
  /** PEFT's configuration. */
  readonly config: JsonObject;
  /** The factors as PEFT saves them. */
  projections(): Promise<SavedFactors>;
  /** Whether they must be saved: PEFT would not draw them, or nobody could. */
  readonly needsProjections: boolean;
  readonly notes: readonly string[];
}

/**
 * A new adapter with PEFT's initial values: λ_b = 0, so that ΔW = 0, and λ_d = `d_initial`, which PEFT casts to the base
 * weight's dtype and back, as it does with the factors. Throws the signal's reason when it is aborted.
 */
export async function newVera(
  { model, dtype, signal }: Pick<OpenInput, "model" | "dtype" | "signal">,
  settings: AdapterSettings & VeraSettings,
  targets: Targets,
): Promise<VeraSource> {
  const { rank: r, dInitial, generator } = settings;
  if (generator === null || !drawsFactors(generator)) throw new TypeError("a new adapter without a generator");
  const key = BigInt(settings.basisSeed);
  const stored = targets.modules.map((module) => module.dtype);
  const grid = gridOfHeld(dtype, stored);
  const extent = extentOf(targets.modules);
  const spec = specOf({ generator, maxIn: extent.in, maxOut: extent.out, dtype: grid }, { key, r });
  const record = recordFactors(spec);
  return {
    r,
    modules: targets.modules.map(({ name, tensor, out, in: input }) => {
      const lambda = new Float32Array(r).fill(roundToGrid(Math.fround(dInitial), grid));
      return { name, tensor, out, in: input, values: { lambda, gamma: new Float32Array(out) } };
    }),
    bases: await takeSteps(drawFactors(spec, extent), signal),
    basesFrom: "drawn",
    record: formatRecord(record),
    config: newConfig(model, targets, {
      auto_mapping: null,
      bias: "none",
      d_initial: dInitial,
      init_weights: true,
      peft_type: "VERA",
      projection_prng_key: fromBigInt(key),
      r,
      revision: null,
      save_projection: true,
      vera_dropout: settings.dropout,
    }),
    projections: once(() => drawFactorTensors(spec)),
    needsProjections: !drawsAlike(record, stored),
    notes: [],
  };
}

/**
 * An adapter that exists, to go on from (`--init-adapter`, or a resumed run's own): its factors, vectors, rank and targets.
 * @param basesFrom where a resumed run had the factors from; undefined: the file's, where it has them
 * @throws RandloraError `adapter` when it does not fit the base, or holds more than VeRA's parameters; the signal's reason
 *   when it is aborted
 */
export async function existingVera(
  adapter: Adapter,
  base: BaseModel,
  settings: VeraSettings,
  basesFrom?: BasesFrom,
  signal?: AbortSignal,
): Promise<VeraSource> {
  const known = recordOf(adapter);
  // Where the adapter says what drew its factors, the settings have it from there.
  const generator = known === undefined ? (settings.generator ?? undefined) : undefined;
  const plan = planVera(adapter, base, { generator });
  refuseMore(plan);
  const { layers, config, extent } = plan;
  const modules: VeraModule[] = [];
  for (const layer of layers) {
    const { module: name, tensor, out, in: input, tensors } = layer;
    modules.push({ name, tensor, out, in: input, values: await readAllValues(adapter, tensors) });
  }
  const source = await factorsAs(basesFrom, plan.factors, known, config);
  const record = source.kind === "drawn" ? (source.record ?? recordFactors(source.spec)) : known;
  const stored = layers.map(({ dtype }) => dtype);
  return {
    r: config.r,
    modules,
    bases: await loadFactors(adapter, source, extent, signal),
    basesFrom: source.kind,
    record: record && formatRecord(record),
    config: { ...adapter.config, inference_mode: true },
    projections: once(async () => (source.kind === "saved" ? source : drawFactorTensors(source.spec))),
    needsProjections: record === undefined || !drawsAlike(record, stored),
    notes: plan.notes,
  };
}

/** The same factors, drawn or as a file has them: a run's own adapter may hold what was drawn, or leave out what was read. */
async function factorsAs(
  wanted: BasesFrom | undefined,
  source: FactorsSource,
  record: FactorsRecord | undefined,
  config: VeraConfig,
): Promise<FactorsSource> {
  if (wanted === "drawn" && source.kind === "saved" && record !== undefined) {
    return { kind: "drawn", spec: specOf(record, config), record };
  }
  if (wanted === "saved" && source.kind === "drawn")
    return { kind: "saved", ...(await drawFactorTensors(source.spec)) };
  return source;
}

/** Would PEFT draw these very factors beside a base whose adapted weights are stored in these dtypes? */
function drawsAlike(record: FactorsRecord, stored: readonly string[]): boolean {
  return canPeftDraw(record) && record.dtype === gridOfWeights(stored);
}
