import type { JsonObject } from "../../../files/lossless-json.ts";
import { itemAt } from "../../../files/item-at.ts";
import type { BaseModel } from "../../base/base.ts";
import { refuseMore } from "../../training/existing.ts";
import { newConfig } from "../../training/new-config.ts";
import type { AdapterSettings } from "../../training/settings.ts";
import type { Targets } from "../../base/target-modules.ts";
import type { Adapter } from "../../adapter.ts";
import { readValues } from "../../files/values.ts";
import type { ThetaLayer } from "../../../compute/device/families/theta.ts";
import { planPranc } from "../plan.ts";
import type { PrancRecord } from "../record.ts";
import { thetaOffsets, thetaScale } from "../stream.ts";
import type { PrancSettings } from "./settings.ts";

/** One module that PRANC adapts. */
export interface PrancModule extends ThetaLayer {
  /** As adapters name it. */
  readonly name: string;
  /** Its weight in the checkpoint. */
  readonly tensor: string;
}

/** A PRANC adapter before it is trained: new, or one that exists. */
export interface PrancSource {
  /** In the order of the record. */
  readonly modules: readonly PrancModule[];
  readonly record: PrancRecord;
  /** α (K) before training. */
  readonly values: Float32Array<ArrayBuffer>;
  /** PEFT's keys for layers, and ours. */
  readonly config: JsonObject;
}

/** A new adapter, all coefficients zero. `model`: what its configuration says of the base. */
export function newPranc(settings: AdapterSettings & PrancSettings, targets: Targets, model: string): PrancSource {
  const { alpha, bases, basisSeed, dropout } = settings;
  const offsets = thetaOffsets(targets.modules);
  return {
    modules: targets.modules.map(({ name, tensor, out, in: input }, index) => {
      const scale = thetaScale(alpha, bases, input);
      return { name, tensor, out, in: input, offset: itemAt(offsets, index), scale };
    }),
    record: {
      seed: BigInt(basisSeed),
      modules: targets.modules.map(({ name, out, in: input }) => ({ module: name, out, in: input })),
    },
    values: new Float32Array(bases),
    config: newConfig(model, targets, {
      num_bases: bases,
      peft_type: "PRANC",
      pranc_alpha: alpha,
      pranc_dropout: dropout,
    }),
  };
}

/**
 * An adapter that exists, to go on from (`--init-adapter`): its bases, coefficients, alpha and targets.
 * @throws RandloraError `adapter` when it does not fit the base, or holds more than coefficients
 */
export async function existingPranc(
  adapter: Adapter,
  base: BaseModel,
  { dropout }: Pick<AdapterSettings, "dropout">,
): Promise<PrancSource> {
  const plan = planPranc(adapter, base);
  refuseMore(plan);
  return {
    modules: plan.layers.map(({ module: name, ...layer }) => ({ name, ...layer })),
    record: plan.record,
    values: await readValues(adapter, plan.coefficients),
    config: { ...adapter.config, inference_mode: true, pranc_dropout: dropout },
  };
}
