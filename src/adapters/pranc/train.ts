import * as v from "valibot";
import { philoxKey } from "../../compute/random/philox.ts";
import { RandloraError } from "../../files/errors.ts";
import type { Adapter } from "../adapter.ts";
import { findTargets, type Targets } from "../base/target-modules.ts";
import { dropoutMask } from "../delta/dropout.ts";
import { fuse } from "../delta/through-weights/fused.ts";
import { computedTensor } from "../files/tensors.ts";
import { readValues } from "../files/values.ts";
import { newConfig, trainedContent, trainedModuleRows, untrainedAdapter } from "../train.ts";
import { BASES_SETTINGS } from "../training/bases-settings.ts";
import type { AdapterTraining } from "../training/definition.ts";
import { refuseMore, targetSettings } from "../training/existing.ts";
import type { Method, PassKind, Placement, PlaceOptions, Trainable } from "../training/method.ts";
import type { AdapterSettings } from "../training/settings.ts";
import { MOST_BASES, prancConfig } from "./config.ts";
import { COEFFICIENTS, planPranc, type PrancPlan } from "./plan.ts";
import { formatProducts, parseProducts, planProducts, type ProductsPlan } from "./products.ts";
import { formatPrancRecord, prancRecord } from "./stream.ts";
import { type TrainedModule, TrainedTheta } from "./trained-theta.ts";

/** Settings of PRANC beside those of every adapter. */
const PRANC_SETTINGS = {
  /** K: coefficients, and as many bases. */
  bases: v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(MOST_BASES)),
  basisSeed: BASES_SETTINGS.basisSeed,
} as const;

export type PrancSettings = Readonly<v.InferOutput<v.StrictObjectSchema<typeof PRANC_SETTINGS, undefined>>>;

/** The rank that run.json has, as of every adapter: one coefficient a basis. It decides nothing. */
const NO_RANK = 1;

export const prancTraining: AdapterTraining<PrancSettings> = {
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
  resolve({ rank, bases = 256, basisSeed = "0" }) {
    if (rank !== undefined) {
      const cause = `--rank ${rank} has no meaning where whole networks are summed`;
      throw new RandloraError("usage", cause, "--bases sets the number of trainable parameters");
    }
    if (bases > MOST_BASES) {
      throw new RandloraError("usage", `--bases ${bases}: at most ${MOST_BASES} can be trained`, "give fewer");
    }
    return { bases, basisSeed };
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
export function newPranc(settings: AdapterSettings & PrancSettings, targets: Targets, model: string): Adapter {
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
export function trainablePranc(plan: PrancPlan, settings: Pick<AdapterSettings, "dropout">, seed: number): Trainable {
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
  const trained = layers.map(({ module: name, tensor, out, in: input, offset, scale }, index): TrainedModule => {
    const weight = tensors.get(tensor);
    if (weight === undefined) throw new RangeError(`${tensor} is no tensor of the decoder`);
    return { name, weight, shape: { out, in: input, offset, scale: scale * factor }, index };
  });
  const dropout = settings.dropout > 0;
  const plans = choosePlans(options, trained, dropout);
  const adapter = new TrainedTheta(gpu, {
    modules: trained,
    coefficients,
    gradient,
    key: philoxKey(record.seed),
    dropout,
    plans,
    staging: options.staging,
  });
  const masks = (pass: PassKind) =>
    dropout && pass.kind === "train"
      ? (module: number) => dropoutMask(settings.dropout, seed, pass, module)
      : undefined;
  return {
    choices: { products: plans.map(formatProducts) },
    prepare: (run) => adapter.prepare(run),
    watched: () => [],
    linears: (pass) => adapter.linears(masks(pass)),
    finish: (run) => adapter.finish(run),
    content: () => {
      const keys = { pranc_dropout: settings.dropout };
      return trainedContent(source, parameters, [stored], keys, formatPrancRecord(record));
    },
  };
}

function choosePlans(
  { choices, choicesFile, microBatches, budget }: PlaceOptions,
  modules: readonly TrainedModule[],
  dropout: boolean,
): readonly ProductsPlan[] {
  const matrices = fuse(modules).map(({ shape }) => shape);
  if (choices !== undefined) return parseProducts(choices, matrices.length, choicesFile);
  return planProducts({ matrices, microBatches, dropout, budget });
}
