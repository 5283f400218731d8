import * as v from "valibot";
import type { DeviceBuffer } from "../../compute/device/buffer.ts";
import type { ThetaKey, ThetaLayer } from "../../compute/device/families/theta.ts";
import type { Tensor } from "../../compute/device/tensor.ts";
import { philoxKey } from "../../compute/random/philox.ts";
import { RandloraError } from "../../files/errors.ts";
import type { Adapter } from "../files/adapter.ts";
import { findTargets, type Targets } from "../base/target-modules.ts";
import { weightFinder } from "../delta/parts.ts";
import { adaptedMethod } from "../delta/through-weights/adapted-method.ts";
import type { AdaptedModule } from "../delta/through-weights/held.ts";
import { computedTensor, readValues } from "../files/tensors.ts";
import { newConfig, trainedContent, trainedModuleRows, untrainedAdapter } from "../method/train.ts";
import { type AdapterSettings, countedBases, resolveBases } from "../method/settings.ts";
import type { AdapterTraining, MethodDefinition } from "../method/method.ts";
import { refuseMore, targetSettings } from "../method/fit.ts";
import type { Method, Placement, Trainable } from "../method/training.ts";
import { COEFFICIENTS, MOST_BASES, planPranc, prancConfig, type PrancPlan } from "./plan.ts";
import { formatPrancRecord, PRANC_GENERATOR, prancRecord } from "./stream.ts";
import { convertAsIs } from "../frozen/convert.ts";

/** Settings of PRANC beside those of every adapter. Bases: K, as many as coefficients. */
const PRANC_SETTINGS = countedBases(MOST_BASES);

type PrancSettings = Readonly<v.InferOutput<v.StrictObjectSchema<typeof PRANC_SETTINGS, undefined>>>;

/** The rank that run.json has, as of every adapter: one coefficient a basis. It decides nothing. */
const NO_RANK = 1;

const prancTraining: AdapterTraining<PrancSettings> = {
  result: "adapter",
  settings: PRANC_SETTINGS,
  usual: { rank: NO_RANK, alphaPerRank: 1, learningRate: 3e-2 },
  capacity: {
    setting: "bases",
    most: () => Infinity,
    count: (_, bases) => bases,
    // ΔW is formed, G = dyᵀx, and G multiplied with every network.
    flops: (modules, bases, _, tokens) =>
      modules.reduce((sum, { out, in: input }) => sum + 2 * out * input * (2 * bases + tokens), 0),
  },
  formsWhole: true,
  resolve({ rank, bases = 256, basisSeed }) {
    if (rank !== undefined) {
      const cause = `--rank ${rank} has no meaning where whole networks are summed`;
      throw new RandloraError("usage", cause, "--bases sets the number of trainable parameters");
    }
    return resolveBases(MOST_BASES, bases, basisSeed);
  },
  initial(adapter) {
    const { bases, alpha, targets } = prancConfig(adapter);
    return { alpha, ...targetSettings(targets), bases, basisSeed: String(prancRecord(adapter).seed) };
  },
  async open({ base, model, seed }, settings, adapter) {
    const plan = planPranc(adapter ?? newPranc(settings, findTargets(base, settings), model), base);
    refuseMore(plan);
    // Numbers that are not finite are refused here, and not when the model is in memory.
    await readValues(plan.adapter, plan.coefficients);
    return trainablePranc(plan, settings, seed);
  },
};

/** A new adapter, all coefficients zero. `model`: what its configuration says of the base. */
function newPranc(settings: AdapterSettings & PrancSettings, targets: Targets, model: string): Adapter {
  const { alpha, bases, basisSeed, dropout } = settings;
  const config = newConfig(model, targets, {
    num_bases: bases,
    peft_type: "PRANC",
    pranc_alpha: alpha,
    pranc_dropout: dropout,
  });
  const modules = targets.modules.map(({ name, out, in: input }) => ({ module: name, out, in: input }));
  const record = formatPrancRecord({ seed: BigInt(basisSeed), modules });
  return untrainedAdapter(config, [computedTensor(COEFFICIENTS, [bases], () => {})], record);
}

/** PRANC (Nooralinejad et al., arXiv:2206.08464): K coefficients are trained for all modules together. */
function trainablePranc(plan: PrancPlan, settings: Pick<AdapterSettings, "dropout">, seed: number): Trainable {
  return {
    parameters: [{ name: COEFFICIENTS, shape: [1, plan.config.bases] }],
    // No module has a coefficient for itself.
    modules: trainedModuleRows(plan.layers, () => 0),
    notes: [],
    place: (on) => place(on, plan, settings, seed),
  };
}

async function place(
  { gpu, parameters, tensors, place: options, factor = 1 }: Placement,
  { adapter: source, layers, record, coefficients: stored }: PrancPlan,
  settings: Pick<AdapterSettings, "dropout">,
  seed: number,
): Promise<Method> {
  parameters.write(COEFFICIENTS, "value", await readValues(source, stored));
  const { value: coefficients, gradient } = parameters.get(COEFFICIENTS);
  const key = philoxKey(record.seed);
  const { parts: bytes } = gpu.scratchBytes("thetaGradient", { bases: coefficients.shape[1] });
  const parts = gpu.memory.allocate("adapter scratch: parts", bytes);
  const find = weightFinder(tensors);
  const modules = layers.map(({ module: name, tensor, out, in: input, offset, scale }, index): AdaptedModule => {
    const layer = { out, in: input, offset, scale: scale * factor };
    return { name, ...find(tensor), index, ...thetaModule(layer, { key, coefficients, gradient, parts }) };
  });
  return {
    ...adaptedMethod({ gpu, place: options }, modules, { rate: settings.dropout, seed }),
    content: () => {
      const keys = { pranc_dropout: settings.dropout };
      return trainedContent(source, parameters, [stored], keys, formatPrancRecord(record));
    },
  };
}

/** What PRANC has of a step: α (1, K) with its gradient, F32, and scratch that the modules share. */
interface TrainedCoefficients {
  readonly key: ThetaKey;
  readonly coefficients: Tensor;
  readonly gradient: Tensor;
  readonly parts: DeviceBuffer;
}

/** ΔW = scale · Σ_i α_i θ_i of one module, and ∂loss/∂α. */
export function thetaModule(
  layer: ThetaLayer,
  { key, coefficients, gradient, parts }: TrainedCoefficients,
): Pick<AdaptedModule, "shape" | "form" | "fold"> {
  return {
    shape: layer,
    form(run, { buffer, offset, pitch, shape }, accumulate, from = 0) {
      const block = { firstRow: from, rows: shape[0], target: buffer, at: offset, pitch, accumulate };
      run.compute("thetaDelta", { layer, key, coefficients, transposed: false, block });
    },
    fold: (run, g) => run.compute("thetaGradient", { layer, key, g, target: gradient, parts }),
  };
}

/** PRANC (Nooralinejad et al., arXiv:2206.08464), for fine-tuning: ΔW of all layers together is a sum of random networks. */
export const pranc: MethodDefinition<PrancSettings> = {
  name: "pranc",
  title: "PRANC",
  peftTypes: ["PRANC"],
  ownTypes: ["PRANC"],
  shared: [],
  check: prancConfig,
  plan: planPranc,
  // Without its record the coefficients say nothing.
  convert: convertAsIs("PRANC, whose bases are as large as the model each", (adapter) => {
    prancRecord(adapter);
    return PRANC_GENERATOR;
  }),
  training: prancTraining,
};
