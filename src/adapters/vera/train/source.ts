import { type FrozenInTraining, openFrozen } from "../../frozen/training.ts";
import { fromBigInt, type JsonObject } from "../../../files/lossless-json.ts";
import { roundToGrid } from "../../../compute/random/grid.ts";
import type { BaseModel } from "../../base/base.ts";
import type { BasesFrom } from "../../delta/scaled-bases/place.ts";
import { gridOfHeld } from "../../frozen/grid.ts";
import type { OpenInput } from "../../training/definition.ts";
import { refuseMore } from "../../training/existing.ts";
import { newConfig } from "../../training/new-config.ts";
import type { AdapterSettings } from "../../training/settings.ts";
import type { Targets } from "../../base/target-modules.ts";
import type { Adapter } from "../../adapter.ts";
import { readAllValues } from "../../files/values.ts";
import { VERA_FACTORS } from "../factors.ts";
import { extentOf, planVera } from "../plan.ts";
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
export interface VeraSource extends FrozenInTraining {
  readonly r: number;
  readonly modules: readonly VeraModule[];
  /** PEFT's configuration. */
  readonly config: JsonObject;
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
  if (generator === null) throw new TypeError("a new adapter without a generator");
  const key = BigInt(settings.basisSeed);
  const stored = targets.modules.map((module) => module.dtype);
  const grid = gridOfHeld(dtype, stored);
  const drawn = { generator, dtype: grid, ...VERA_FACTORS.sizesFor(targets.modules) };
  const origin = { kind: "drawn", drawn, record: undefined } as const;
  const extent = extentOf(targets.modules);
  const known = { file: "", config: { key, r }, origin, record: undefined, from: undefined, extent, stored };
  return {
    ...(await openFrozen(VERA_FACTORS, known, signal)),
    r,
    modules: targets.modules.map(({ name, tensor, out, in: input }) => {
      const lambda = new Float32Array(r).fill(roundToGrid(Math.fround(dInitial), grid));
      return { name, tensor, out, in: input, values: { lambda, gamma: new Float32Array(out) } };
    }),
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
  // Where the adapter says what drew its factors, the settings have it from there.
  const generator = adapter.bases === undefined ? (settings.generator ?? undefined) : undefined;
  const plan = planVera(adapter, base, { generator });
  refuseMore(plan);
  const { layers, config, extent, bases: origin, record } = plan;
  const modules: VeraModule[] = [];
  for (const layer of layers) {
    const { module: name, tensor, out, in: input, tensors } = layer;
    modules.push({ name, tensor, out, in: input, values: await readAllValues(adapter, tensors) });
  }
  const stored = layers.map(({ dtype }) => dtype);
  const known = { file: adapter.file, config, origin, record, from: basesFrom, extent, stored };
  return {
    ...(await openFrozen(VERA_FACTORS, known, signal)),
    r: config.r,
    modules,
    config: { ...adapter.config, inference_mode: true },
    notes: plan.notes,
  };
}
