import type { BaseModel } from "../../base/base.ts";
import { fromBigInt, type JsonObject } from "../../../files/lossless-json.ts";
import type { Adapter } from "../../adapter.ts";
import { drawSteps } from "../../frozen/drawing/draw.ts";
import type { Bases, BasesExtent } from "../../frozen/drawing/bases.ts";
import type { BilinearShape } from "../../delta/scaled-bases/shape.ts";
import type { BasesFrom } from "../../delta/scaled-bases/place.ts";
import type { RandloraConfig } from "../config.ts";
import type { Pairing } from "../../../compute/device/pairing.ts";
import { readAllValues } from "../../files/values.ts";
import type { BasesSource } from "../generator.ts";
import { specOf } from "../identify.ts";
import { loadBases } from "../load-bases.ts";
import { gridOfHeld } from "../../frozen/grid.ts";
import { drawsAlike } from "../peft-draws.ts";
import { DORA_TYPES, pairingOf, PEFT_TYPES } from "../peft-types.ts";
import { planRandlora } from "../plan.ts";
import { drawPairTensors } from "../projection-tensors.ts";
import { firstRowOfA, isRankR, stackedExtent, stackedSpec } from "../rank-r/stacked.ts";
import { type BasesRecord, formatBasesRecord, recordOf } from "../record.ts";
import type { SavedPair } from "../saved.ts";
import { userStdCache } from "../../frozen/drawing/std-cache.ts";
import { takeSteps } from "../../frozen/drawing/steps.ts";
import { basesRecord, initialValues, type ModuleValues, newBasesSpec } from "../new-adapter.ts";
import { randloraShape } from "../shape.ts";
import type { OpenInput } from "../../training/definition.ts";
import { once } from "../../files/once.ts";
import { refuseMore } from "../../training/existing.ts";
import { newConfig } from "../../training/new-config.ts";
import type { AdapterSettings } from "../../training/settings.ts";
import type { RandloraSettings } from "./settings.ts";
import type { Targets } from "../../base/target-modules.ts";

/** One module that RandLoRA adapts. */
export interface RandloraModule {
  /** As adapters name it. */
  readonly name: string;
  /** Its weight in the checkpoint. */
  readonly tensor: string;
  readonly shape: BilinearShape;
  /** λ and γ before training. */
  readonly values: ModuleValues;
}

/** A RandLoRA adapter before it is trained: new, or one that exists. Everything of it that no GPU is needed for. */
export interface RandloraSource {
  /** α/r. */
  readonly scale: number;
  readonly pairing: Pairing;
  readonly modules: readonly RandloraModule[];
  readonly bases: Bases;
  /** RandLoRA-a alone: where the rows of Aⱼᵀ begin. */
  readonly firstRowOfA?: number | undefined;
  /** Drawn bases and the same ones out of a file may be stored differently, and then products round differently. */
  readonly basesFrom: BasesFrom;
  /** What draws the bases, where that is known. */
  readonly record: JsonObject | undefined;
  /** PEFT's configuration. */
  readonly config: JsonObject;
  /** The bases as PEFT saves them. */
  projections(): Promise<SavedPair>;
  /** Whether they must be saved: PEFT would not draw them, or nobody could. */
  readonly needsProjections: boolean;
  readonly notes: readonly string[];
}

/** A new adapter with PEFT's initial values. @throws RandloraError `adapter`; the signal's reason when it is aborted */
export async function newRandlora(
  { model, dtype, signal }: Pick<OpenInput, "model" | "dtype" | "signal">,
  settings: AdapterSettings & RandloraSettings,
  targets: Targets,
): Promise<RandloraSource> {
  const { rank: r, alpha, sparsity, variant, generator } = settings;
  if (generator === null) throw new TypeError("a new adapter without a generator");
  const key = BigInt(settings.basisSeed);
  const pairing = pairingOf(variant);
  const half = variant === "half-rank";
  const grid = gridOfHeld(dtype, storedDtypes(targets));
  const rankR = variant === "rank-r";
  const plain = newBasesSpec({ modules: targets.modules, r, generator, key, sparsity, grid });
  const spec = rankR ? stackedSpec(plain) : plain;
  const modules = targets.modules.map(({ name, tensor, out, in: input }) => {
    const shape = randloraShape(out, input, r, half);
    return { name, tensor, shape, values: initialValues(shape, grid) };
  });
  const extent = extentOf(modules);
  // First, so that the record finds the standard deviations in the cache.
  const bases = await takeSteps(drawSteps(spec, rankR ? stackedExtent(spec, extent) : extent, userStdCache()), signal);
  const record = { ...basesRecord(spec, pairing), ...(rankR ? { rowsOfA: spec.min } : {}) };
  return {
    scale: alpha / r,
    pairing,
    modules,
    bases,
    firstRowOfA: rankR ? firstRowOfA(spec) : undefined,
    basesFrom: "drawn",
    record: formatBasesRecord(record),
    config: newConfig(model, targets, {
      auto_mapping: null,
      bias: "none",
      init_weights: true,
      peft_type: (settings.dora ? DORA_TYPES : PEFT_TYPES)[variant],
      projection_prng_key: fromBigInt(key),
      r,
      randlora_alpha: alpha,
      randlora_dropout: settings.dropout,
      revision: null,
      save_projection: true,
      sparse: sparsity === "sparse",
      very_sparse: sparsity === "very-sparse",
    }),
    projections: once(() => drawPairTensors(spec)),
    needsProjections: !drawsAlike(record, storedDtypes(targets)),
    notes: [],
  };
}

/**
 * An adapter that exists, to go on from (`--init-adapter`, or a resumed run's own): its bases, parameters, rank, alpha and
 * targets.
 * @param basesFrom where a resumed run had the bases from; undefined: the file's, where it has them
 * @throws RandloraError `adapter` when it does not fit the base, or holds more than RandLoRA's
 *   parameters; the signal's reason when it is aborted
 */
export async function existingRandlora(
  adapter: Adapter,
  base: BaseModel,
  settings: RandloraSettings,
  basesFrom?: BasesFrom,
  signal?: AbortSignal,
): Promise<RandloraSource> {
  // Where the adapter says what drew its bases, the settings have it from there.
  const generator = recordOf(adapter) === undefined ? (settings.generator ?? undefined) : undefined;
  const plan = planRandlora(adapter, base, { generator });
  refuseMore(plan);
  const { layers, pairing, scale, extent, config } = plan;
  const modules: RandloraModule[] = [];
  for (const { module: name, tensor, sizes: shape, tensors } of layers) {
    modules.push({ name, tensor, shape, values: await readAllValues(adapter, tensors) });
  }
  const stored = layers.map(({ dtype }) => dtype);
  const source = await basesAs(basesFrom, plan.bases, recordOf(adapter), config);
  const record = source.kind === "drawn" ? (source.record ?? basesRecord(source.spec, pairing)) : recordOf(adapter);
  return {
    scale,
    pairing,
    modules,
    bases: await loadBases(adapter, source, config.r, extent, { signal }),
    firstRowOfA: isRankR(adapter) ? firstRowOfA(source.kind === "drawn" ? source.spec : source) : undefined,
    basesFrom: source.kind,
    record: record && formatBasesRecord(record),
    config: { ...adapter.config, inference_mode: true },
    projections: once(async () => (source.kind === "saved" ? source : drawPairTensors(source.spec))),
    needsProjections: record === undefined || !drawsAlike(record, stored),
    notes: plan.notes,
  };
}

/** The same bases, drawn or as a file has them: a run's own adapter may hold what was drawn, or leave out what was read. */
async function basesAs(
  wanted: BasesFrom | undefined,
  source: BasesSource,
  record: BasesRecord | undefined,
  config: RandloraConfig,
): Promise<BasesSource> {
  if (wanted === "drawn" && source.kind === "saved" && record !== undefined) {
    return { kind: "drawn", spec: specOf(record, config), record };
  }
  if (wanted === "saved" && source.kind === "drawn") return { kind: "saved", ...(await drawPairTensors(source.spec)) };
  return source;
}

function storedDtypes({ modules }: Targets): readonly string[] {
  return modules.map(({ dtype }) => dtype);
}

function extentOf(modules: readonly RandloraModule[]): BasesExtent {
  return {
    rows: Math.max(...modules.map(({ shape }) => shape.rows)),
    bases: Math.max(...modules.map(({ shape }) => shape.bases)),
    cols: Math.max(...modules.map(({ shape }) => shape.cols)),
  };
}
