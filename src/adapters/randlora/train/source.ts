import type { BaseModel } from "../../base/base.ts";
import { fromBigInt, type JsonObject } from "../../../files/lossless-json.ts";
import type { Adapter } from "../../adapter.ts";
import type { BasesExtent } from "../../frozen/drawing/bases.ts";
import { type FrozenInTraining, openFrozen } from "../../frozen/training.ts";
import { sizesOf } from "../../frozen/origin.ts";
import type { BilinearShape } from "../../delta/scaled-bases/shape.ts";
import type { BasesFrom } from "../../delta/scaled-bases/place.ts";
import type { Pairing } from "../../../compute/device/pairing.ts";
import { readAllValues } from "../../files/values.ts";
import { type BasesRecord, RANDLORA_BASES } from "../bases.ts";
import { gridOfHeld } from "../../frozen/grid.ts";
import { DORA_TYPES, pairingOf, PEFT_TYPES } from "../peft-types.ts";
import { planRandlora } from "../plan.ts";
import { firstRowOfA, isRankR, stackedExtent, stackedSizes } from "../rank-r/stacked.ts";
import { initialValues, type ModuleValues } from "../new-adapter.ts";
import { randloraShape } from "../shape.ts";
import type { OpenInput } from "../../training/definition.ts";
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
export interface RandloraSource extends FrozenInTraining {
  /** α/r. */
  readonly scale: number;
  readonly pairing: Pairing;
  readonly modules: readonly RandloraModule[];
  /** RandLoRA-a alone: where the rows of Aⱼᵀ begin. */
  readonly firstRowOfA?: number | undefined;
  /** PEFT's configuration. */
  readonly config: JsonObject;
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
  const plain = RANDLORA_BASES.sizesFor(targets.modules);
  const sizes = rankR ? stackedSizes(plain) : plain;
  const modules = targets.modules.map(({ name, tensor, out, in: input }) => {
    const shape = randloraShape(out, input, r, half);
    return { name, tensor, shape, values: initialValues(shape, grid) };
  });
  const extent = extentOf(modules);
  const frozen = await openFrozen(
    RANDLORA_BASES,
    {
      file: "",
      config: { key, r, sparsity },
      origin: { kind: "drawn", drawn: { generator, dtype: grid, ...sizes }, record: undefined },
      record: undefined,
      from: undefined,
      extent: rankR ? stackedExtent(sizes, extent) : extent,
      stored: storedDtypes(targets),
    },
    signal,
    (record): BasesRecord => ({ ...record, pairing, ...(rankR ? { rowsOfA: sizes.min } : {}) }),
  );
  return {
    ...frozen,
    scale: alpha / r,
    pairing,
    modules,
    firstRowOfA: rankR ? firstRowOfA(sizes) : undefined,
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
  const generator = adapter.bases === undefined ? (settings.generator ?? undefined) : undefined;
  const plan = planRandlora(adapter, base, { generator });
  refuseMore(plan);
  const { layers, pairing, scale, extent, config } = plan;
  const modules: RandloraModule[] = [];
  for (const { module: name, tensor, sizes: shape, tensors } of layers) {
    modules.push({ name, tensor, shape, values: await readAllValues(adapter, tensors) });
  }
  const { bases: origin, record } = plan;
  const stored = layers.map(({ dtype }) => dtype);
  const known = { file: adapter.file, config, origin, record, from: basesFrom, extent, stored };
  return {
    ...(await openFrozen(RANDLORA_BASES, known, signal)),
    scale,
    pairing,
    modules,
    firstRowOfA: isRankR(adapter) ? firstRowOfA(sizesOf(origin)) : undefined,
    config: { ...adapter.config, inference_mode: true },
    notes: plan.notes,
  };
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
