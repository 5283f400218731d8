import * as v from "valibot";
import { kaimingUniform } from "../../compute/random/kaiming.ts";
import { sliceRows } from "../../compute/tensor/tensor.ts";
import { RandloraError } from "../../files/errors.ts";
import { mapValues } from "../../files/map-values.ts";
import type { Adapter, AdapterTensor } from "../files/adapter.ts";
import { memoryTensor } from "../files/tensors.ts";
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
} from "../method/train.ts";
import type { AdapterTraining, MethodDefinition } from "../method/method.ts";
import { openExisting, targetSettings, unusedGenerator } from "../method/fit.ts";
import { Parameters } from "../method/parameters.ts";
import type { Addend, Placement, Trainable } from "../method/training.ts";
import type { AdapterSettings } from "../method/settings.ts";
import { LORA_TENSORS, loraConfig, plainLoraKeys } from "./config.ts";
import { addendsOf, type ExpertStack, savedStacks, stackExperts, writeStacks } from "./expert-stacks.ts";
import { loraAdapterPlan, type LoraLayer, type LoraPlan, planLora, planLoraAlone } from "./plan.ts";
import { convertAsIs } from "../frozen/convert.ts";

/** Settings that LoRA alone has. */
export type LoraSettings = { readonly rslora: boolean };

export const loraTraining: AdapterTraining<LoraSettings> = {
  result: "adapter",
  settings: {
    /** Scale α/√r instead of α/r. */
    rslora: v.boolean(),
  },
  usual: { rank: 8, alphaPerRank: 2, learningRate: 1e-4 },
  adaptsParameters: true,
  capacity: {
    setting: "rank",
    most: (modules) => Math.max(...modules.map(({ out, in: input }) => Math.min(out, input))),
    count: (modules, rank) =>
      modules.reduce((sum, { out, in: input, experts = 1 }) => sum + experts * rank * (out + input), 0),
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
        ? planLora(newLora(settings, findTargets(base, settings, { parameters: true }), model, seed), base)
        : await openExisting(planLora(adapter, base), { parameters: true });
    return trainableLora({ ...plan, ...stackExperts(plan, base) }, { dropout: settings.dropout, seed });
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
  const shapes = loraConfig({ settings: config, configFile: "" });
  const tensors = untrainedTensors(LORA_TENSORS, shapes, targets.modules, ({ in: input, experts = 1 }, index) => ({
    a: () => kaimingUniform(rank * experts, input, seed, index),
  }));
  return untrainedAdapter(config, tensors);
}

/** What is trained of an adapter. */
interface LoraParts extends Pick<LoraPlan, "adapter" | "layers"> {
  /** None by default. */
  readonly stacks?: readonly ExpertStack[];
}

/** LoRA (Hu et al., arXiv:2106.09685): y += scale · (x Aᵀ) Bᵀ with A (r, in) and B (out, r) in chosen modules. */
export function trainableLora({ adapter, layers, stacks = [] }: LoraParts, mode: LowRankMode): Trainable<Addend> {
  return {
    parameters: [
      ...layers.flatMap(({ tensors }) => Object.values(tensors).map(matrixOf)),
      ...stacks.flatMap(({ a, b }) => [a, b]),
    ],
    modules: [
      ...trainedModuleRows(layers, ({ rank, out, in: input }) => rank * (out + input)),
      ...stacks.flatMap(({ name, out, in: input, experts, rank, layers: each }): Trainable["modules"] => {
        const own = rank * (out + input);
        if (each.length > 0) return trainedModuleRows(each, () => own);
        return [{ name, shape: [experts, out, input], parameters: experts * own }];
      }),
    ],
    notes: notesOfRank(layers),
    place: (on) => place(on, { adapter, layers, stacks }, mode),
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

/**
 * A LoRA that has its part in each pass and stays what it is: its factors are parameters of its own, which no optimizer
 * touches, and are written as the adapter's file holds them, byte for byte. @throws RandloraError `file`
 */
export async function frozenLora({ adapter, layers }: LoraPlan, mode: LowRankMode): Promise<Trainable<Addend>> {
  const stored: AdapterTensor[] = [];
  // The file may be gone when they are written.
  for (const { name, dtype, shape, readAll } of layers.flatMap(({ tensors: { a, b } }) => [a, b])) {
    stored.push(memoryTensor(name, dtype, shape, await readAll()));
  }
  const { parameters: own, place: placed } = trainableLora({ adapter, layers }, mode);
  const config = { ...adapter.config, inference_mode: true, lora_dropout: mode.dropout };
  return {
    parameters: [],
    modules: trainedModuleRows(layers, () => 0),
    notes: [],
    place: async (on) => ({
      ...(await placed({ ...on, parameters: new Parameters(on.gpu, own, undefined, false) })),
      watched: () => [],
      content: async () => ({ config, bases: undefined, tensors: stored, metadata: new Map() }),
    }),
  };
}

async function place(
  { parameters, tensors: weights, factor = 1 }: Placement,
  { adapter, layers: given, stacks }: Required<LoraParts>,
  mode: LowRankMode,
): Promise<Addend> {
  const layers = given.map((layer) => ({ ...layer, scale: layer.scale * factor }));
  await writeTrained(parameters, adapter, layers);
  await writeStacks(parameters, adapter, stacks);
  const factors = layers.map(({ tensors }) => mapValues(tensors, ({ name }) => parameters.get(name).value));
  // For whoever asks for ΔW of one expert.
  const ofExperts = stacks.flatMap(({ a, b, rank, out, layers: each }) => {
    const [all, allB] = [parameters.get(a.name).value, parameters.get(b.name).value];
    return each.map((layer, at) => ({
      layer: { ...layer, scale: layer.scale * factor },
      factors: { a: sliceRows(all, at * rank, rank), b: sliceRows(allB, at * out, out) },
    }));
  });
  const own = layers.flatMap(({ tensors }) => Object.values(tensors));
  const watched = [...own, ...stacks.flatMap(({ a, b }) => [a, b])];
  return {
    ...lowRankMethod(
      weights,
      [...layers, ...ofExperts.map(({ layer }) => layer)],
      [...factors, ...ofExperts.map((one) => one.factors)],
      mode,
      addendsOf(parameters, stacks, weights, factor),
    ),
    watched: () => watched.map(({ name }) => parameters.get(name)),
    async content() {
      const content = await trainedContent(adapter, parameters, own, { lora_dropout: mode.dropout }, undefined);
      return { ...content, tensors: [...content.tensors, ...(await savedStacks(parameters, stacks))] };
    },
  };
}

/** LoRA (Hu et al., arXiv:2106.09685), rsLoRA and rank patterns among it. */
export const lora: MethodDefinition<LoraSettings> = {
  name: "lora",
  title: "LoRA",
  peftTypes: ["LORA"],
  isOwn: ({ use_dora }) => use_dora !== true,
  shared: [],
  check: loraConfig,
  plan: (adapter, base, options) =>
    loraAdapterPlan(planLora(adapter, base), unusedGenerator(adapter, options, "LoRA, which has no random bases")),
  planAlone: planLoraAlone,
  convert: convertAsIs("LoRA, which has no random bases"),
  training: loraTraining,
};
