import * as v from "valibot";
import { kaimingUniform } from "../../compute/random/kaiming.ts";
import { RandloraError } from "../../files/errors.ts";
import { mapValues } from "../../files/map-values.ts";
import type { Adapter } from "../adapter.ts";
import { findTargets, type Targets } from "../base/target-modules.ts";
import { lowRankFlops, lowRankMethod, type LowRankMode } from "../delta/low-rank/linears.ts";
import {
  matrixOf,
  newConfig,
  trainedContent,
  trainedModuleRows,
  untrainedAdapter,
  untrainedTensors,
  writeTrained,
} from "../train.ts";
import type { AdapterTraining } from "../training/definition.ts";
import { openExisting, targetSettings } from "../training/existing.ts";
import type { Addend, Placement, Trainable } from "../training/method.ts";
import type { AdapterSettings } from "../training/settings.ts";
import { loraConfig, plainLoraKeys, parseLoraConfig } from "./config.ts";
import { LORA_TENSORS, type LoraLayer, type LoraPlan, planLora } from "./plan.ts";

/** Settings that LoRA alone has. */
export type LoraSettings = { readonly rslora: boolean };

export const loraTraining: AdapterTraining<LoraSettings> = {
  result: "adapter",
  settings: {
    /** Scale α/√r instead of α/r. */
    rslora: v.boolean(),
  },
  usual: { rank: 8, alphaPerRank: 2, learningRate: 1e-4 },
  capacity: {
    setting: "rank",
    most: (modules) => Math.max(...modules.map(({ out, in: input }) => Math.min(out, input))),
    count: (modules, rank) => modules.reduce((sum, { out, in: input }) => sum + rank * (out + input), 0),
    flops: (modules, rank, _, tokens) => lowRankFlops(modules, rank, tokens),
  },
  resolve({ rslora = false, dora }: Partial<LoraSettings> & { readonly dora?: boolean }) {
    if (dora === true) {
      throw new RandloraError("usage", "--dora: LoRA with a magnitude is a method of its own", "give --method dora");
    }
    return { rslora };
  },
  initial(adapter) {
    const { r: rank, alpha, targets, rslora } = loraConfig(adapter);
    return { rank, alpha, ...targetSettings(targets), rslora };
  },
  async open({ base, model, seed }, settings, adapter) {
    const plan =
      adapter === undefined
        ? planLora(newLora(settings, findTargets(base, settings), model, seed), base)
        : await openExisting(planLora(adapter, base));
    return trainableLora(plan, { dropout: settings.dropout, seed });
  },
};

/** A new adapter: A is drawn as PEFT draws it, B is zero, so that training begins with the base itself. */
export function newLora(
  { rank, alpha, rslora, dropout }: AdapterSettings & LoraSettings,
  targets: Targets,
  model: string,
  seed: number,
): Adapter {
  const own = plainLoraKeys({ r: rank, lora_alpha: alpha, lora_dropout: dropout, use_rslora: rslora });
  const config = newConfig(model, targets, own);
  const shapes = parseLoraConfig(config, "");
  const tensors = untrainedTensors(LORA_TENSORS, shapes, targets.modules, ({ in: input }, index) => ({
    a: () => kaimingUniform(rank, input, seed, index),
  }));
  return untrainedAdapter(config, tensors);
}

/** LoRA (Hu et al., arXiv:2106.09685): y += scale · (x Aᵀ) Bᵀ with A (r, in) and B (out, r) in chosen modules. */
export function trainableLora(plan: Pick<LoraPlan, "adapter" | "layers">, mode: LowRankMode): Trainable<Addend> {
  const { layers } = plan;
  return {
    parameters: layers.flatMap(({ tensors }) => Object.values(tensors).map(matrixOf)),
    modules: trainedModuleRows(layers, ({ rank, out, in: input }) => rank * (out + input)),
    notes: notesOfRank(layers),
    place: (on) => place(on, plan, mode),
  };
}

/** B·A has no higher rank than the shorter side of W, however many rows A has. */
function notesOfRank(layers: readonly LoraLayer[]): string[] {
  const over = layers.filter(({ out, in: input, rank }) => rank > Math.min(out, input));
  const [first] = over;
  if (first === undefined) return [];
  const { module, out, in: input, rank } = first;
  const share = `${over.length} of ${layers.length} modules`;
  return [
    `LoRA's rank ${rank} is more than ΔW of ${share} can have: ${Math.min(out, input)} of ${module} (${out} × ${input})`,
  ];
}

async function place(
  { parameters, tensors: weights, factor = 1 }: Placement,
  { adapter, layers: given }: Pick<LoraPlan, "adapter" | "layers">,
  mode: LowRankMode,
): Promise<Addend> {
  const layers = given.map((layer) => ({ ...layer, scale: layer.scale * factor }));
  await writeTrained(parameters, adapter, layers);
  const factors = layers.map(({ tensors }) => mapValues(tensors, ({ name }) => parameters.get(name).value));
  const own = layers.flatMap(({ tensors }) => Object.values(tensors));
  return {
    ...lowRankMethod(weights, layers, factors, mode),
    watched: () => own.map(({ name }) => parameters.get(name)),
    content: () => trainedContent(adapter, parameters, own, { lora_dropout: mode.dropout }, undefined),
  };
}
