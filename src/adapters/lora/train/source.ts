import type { BaseModel } from "../../base/base.ts";
import type { JsonObject } from "../../../files/lossless-json.ts";
import { planLora } from "../plan.ts";
import type { Adapter, AdapterTensor } from "../../adapter.ts";
import { readAllValues } from "../../files/values.ts";
import { refuseMore } from "../../training/existing.ts";
import { newConfig } from "../../training/new-config.ts";
import type { AdapterSettings } from "../../training/settings.ts";
import type { Targets } from "../../base/target-modules.ts";

/** Settings that LoRA alone has. */
export type LoraSettings = { readonly rslora: boolean };

/** One module that LoRA adapts. */
export interface LoraModule {
  /** As adapters name it. */
  readonly name: string;
  /** Its weight in the checkpoint. */
  readonly tensor: string;
  readonly out: number;
  readonly in: number;
  readonly rank: number;
  /** α/r, or α/√r. */
  readonly scale: number;
  /** A (r, in) and B (out, r) before training; undefined: A is drawn, and B is zero. */
  readonly values: { readonly a: Float32Array<ArrayBuffer>; readonly b: Float32Array<ArrayBuffer> } | undefined;
  /** The same as an adapter's file holds them; undefined for new ones. */
  readonly stored: { readonly a: AdapterTensor; readonly b: AdapterTensor } | undefined;
}

/** A LoRA adapter before it is trained: new, or one that exists. */
export interface LoraSource {
  readonly modules: readonly LoraModule[];
  /** PEFT's configuration. */
  readonly config: JsonObject;
}

/** A new adapter. `base`: what its configuration says of the model. */
export function newLora(settings: AdapterSettings & LoraSettings, targets: Targets, base: string): LoraSource {
  const { rank, alpha, rslora, dropout } = settings;
  const scale = alpha / (rslora ? Math.sqrt(rank) : rank);
  return {
    modules: targets.modules.map(({ name, tensor, out, in: input }) => {
      return { name, tensor, out, in: input, rank, scale, values: undefined, stored: undefined };
    }),
    config: newConfig(base, targets, {
      alpha_pattern: {},
      auto_mapping: null,
      bias: "none",
      init_lora_weights: true,
      lora_alpha: alpha,
      lora_dropout: dropout,
      peft_type: "LORA",
      r: rank,
      rank_pattern: {},
      use_dora: false,
      use_rslora: rslora,
    }),
  };
}

/**
 * An adapter that exists, to go on from (`--init-adapter`): its factors, ranks, alpha and targets.
 * @throws RandloraError `adapter` when it does not fit the base, or holds more than LoRA's factors
 */
export async function existingLora(adapter: Adapter, base: BaseModel, settings: AdapterSettings): Promise<LoraSource> {
  const plan = planLora(adapter, base);
  refuseMore(plan);
  const modules: LoraModule[] = [];
  for (const { module: name, tensor, out, in: input, rank, scale, tensors } of plan.layers) {
    const values = await readAllValues(adapter, tensors);
    modules.push({ name, tensor, out, in: input, rank, scale, values, stored: tensors });
  }
  return { modules, config: { ...adapter.config, inference_mode: true, lora_dropout: settings.dropout } };
}
