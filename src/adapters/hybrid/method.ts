import * as v from "valibot";
import { Contradiction, RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import type { Adapter, AdapterContent } from "../files/adapter.ts";
import { type BaseModel, isOfExpert } from "../base/base.ts";
import { loraAdapterPlan, type LoraPlan, planLora } from "../lora/plan.ts";
import type { AdapterPlan, PlanOptions } from "../method/plan.ts";
import { planRandlora, randloraAdapterPlan } from "../randlora/plan.ts";
import { sumOfPlans, sumOfTrainables } from "../delta/sum-of-plans.ts";
import {
  checkHybrid,
  HYBRID_VARIANTS,
  isLoraAdapter,
  joinConfigs,
  loraPart,
  PEFT_TYPE,
  randloraPart,
} from "./config.ts";
import { findTargets, type Targets } from "../base/target-modules.ts";
import { stackExperts } from "../lora/expert-stacks.ts";
import { frozenLora, lora, loraTraining, newLora, trainableLora } from "../lora/method.ts";
import { RANDLORA_SETTINGS, resolveRandlora, type Variant } from "../randlora/config.ts";
import { convertRandlora, openNewRandlora, randloraTraining, trainableRandlora } from "../randlora/method.ts";
import type {
  AdapterTraining,
  ConversionWish,
  ConvertedContent,
  MethodDefinition,
  OpenInput,
} from "../method/method.ts";
import { openExisting } from "../method/fit.ts";
import type { Addend, Trainable } from "../method/training.ts";
import type { AdapterSettings } from "../method/settings.ts";
import { RANDLORA_BASES } from "../randlora/bases.ts";

/** Fits a hybrid adapter to a base. @throws RandloraError as its parts do; `format` where they are not of the same modules */
function planHybrid(adapter: Adapter, base: BaseModel, options: PlanOptions): AdapterPlan {
  const randlora = randloraAdapterPlan(planRandlora(randloraPart(adapter), base, options));
  const factors = loraAdapterPlan(planLora(loraPart(adapter), base), []);
  const modules = ({ layers }: AdapterPlan) => layers.map(({ module }) => module);
  requireSameModules(adapter, modules(randlora), modules(factors));
  return sumOfPlans(adapter, [randlora, factors]);
}

/** Throws `RandloraError` "format" where a module, of those that each part adapts, has the tensors of one part alone. */
function requireSameModules(adapter: Adapter, randlora: readonly string[], factors: readonly string[]): void {
  const [ours, theirs] = [new Set(randlora), new Set(factors)];
  const half = [...randlora, ...factors].find((module) => !ours.has(module) || !theirs.has(module));
  if (half === undefined) return;
  const missing = ours.has(half) ? "LoRA's factors" : "λ and γ";
  const cause = `${quote(half)} has no ${missing}, and has the other part's tensors`;
  throw new RandloraError("format", `${oneLine(adapter.file)}: ${cause}`, "the file is incomplete: save it again");
}

const isPart = (variant: Variant) => HYBRID_VARIANTS.some((one) => one === variant);

// A sum of methods has no magnitudes.
const { dora: _, ...RANDLORA } = RANDLORA_SETTINGS;

/** RandLoRA's settings, and of the LoRA beside it. `rank` and `alpha` are RandLoRA's; the LoRA's α is twice its rank. */
const HYBRID_SETTINGS = {
  ...RANDLORA,
  ...loraTraining.settings,
  variant: v.pipe(RANDLORA.variant, v.check(isPart)),
  loraRank: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
  /** The LoRA that the run begins with stays as it is. */
  freezeLora: v.boolean(),
} as const;

type HybridSettings = Readonly<v.InferOutput<v.StrictObjectSchema<typeof HYBRID_SETTINGS, undefined>>>;

/** Defaults for what was not given. @throws RandloraError `usage` as RandLoRA does, and for variants that are no part of a sum */
export function resolveHybrid(given: Partial<HybridSettings>): HybridSettings {
  const { loraRank = loraTraining.usual.rank, freezeLora = false } = given;
  const { dora: _, ...randlora } = resolveRandlora(given);
  if (!isPart(randlora.variant)) {
    const cause = `--variant ${randlora.variant} has no meaning with --method hybrid`;
    throw new RandloraError("usage", cause, `there are: ${HYBRID_VARIANTS.join(", ")}`);
  }
  const { rslora = false } = given;
  return { ...randlora, ...loraTraining.resolve({ rslora }), loraRank, freezeLora };
}

export const hybridTraining: AdapterTraining<HybridSettings> = {
  result: "adapter",
  settings: HYBRID_SETTINGS,
  usual: randloraTraining.usual,
  capacity: {
    ...randloraTraining.capacity,
    count(modules, rank, given) {
      const { loraRank = loraTraining.usual.rank, freezeLora = false } = given;
      const factors = freezeLora ? 0 : loraTraining.capacity.count(modules, loraRank, given);
      return randloraTraining.capacity.count(modules, rank, given) + factors;
    },
    flops(modules, rank, given, tokens) {
      const { loraRank = loraTraining.usual.rank } = given;
      const factors = loraTraining.capacity.flops(modules, loraRank, given, tokens);
      return randloraTraining.capacity.flops(modules, rank, given, tokens) + factors;
    },
  },
  resolve: resolveHybrid,
  initial(adapter, given) {
    const isLora = isLoraAdapter(adapter);
    const { rank: loraRank, alpha: _, ...factors } = loraTraining.initial(isLora ? adapter : loraPart(adapter), given);
    return {
      ...factors,
      ...(loraRank === undefined ? {} : { loraRank }),
      ...(isLora ? {} : randloraTraining.initial(randloraPart(adapter), given)),
    };
  },
  async open(input, settings, adapter) {
    const { randlora, factors } = await openParts(input, settings, adapter);
    return sumOfTrainables(randlora, [factors], (contents) => join(settings.variant, contents));
  },
};

/** What the parts are told: none of them has magnitudes. */
type PartSettings = AdapterSettings & HybridSettings & { readonly dora: false };

/** What is trained, part by part. */
interface HybridParts {
  readonly randlora: Trainable;
  readonly factors: Trainable<Addend>;
}

/**
 * Both parts: new ones; or those of a hybrid adapter; or a LoRA that exists, with a new RandLoRA on its modules.
 * @throws RandloraError as the parts' own methods do; `usage` where a LoRA that does not exist is to be frozen
 */
async function openParts(
  input: OpenInput,
  given: AdapterSettings & HybridSettings,
  adapter: Adapter | undefined,
): Promise<HybridParts> {
  const settings: PartSettings = { ...given, dora: false };
  const { base } = input;
  if (adapter === undefined) {
    if (settings.freezeLora) {
      const cause = "--freeze-lora: a new LoRA adds nothing, and would never do";
      throw new Contradiction(["freezeLora"], cause, "name the LoRA to begin with: --init-adapter, or leave it out");
    }
    const { loraRank: rank } = settings;
    const own = { ...settings, rank, alpha: (loraTraining.usual.alphaPerRank ?? 1) * rank };
    const factors = planLora(newLora(own, findTargets(base, settings), input.model, input.seed), base);
    return {
      randlora: await randloraTraining.open(input, settings, undefined),
      factors: await trained(factors, input, settings),
    };
  }
  if (isLoraAdapter(adapter)) {
    const factors = await openExisting(planLora(adapter, base));
    refuseParameters(factors);
    return { randlora: await beside(factors, input, settings), factors: await trained(factors, input, settings) };
  }
  const randlora = await randloraTraining.open(input, settings, randloraPart(adapter));
  const factors = await trained(await openExisting(planLora(loraPart(adapter), base)), input, settings);
  const names = ({ modules }: Trainable) => modules.map(({ name }) => name);
  requireSameModules(adapter, names(randlora), names(factors));
  return { randlora, factors };
}

/** PEFT draws each adapter's dropout for itself: the masks of the two parts differ. */
async function trained(
  plan: LoraPlan,
  { base, seed }: OpenInput,
  { dropout, freezeLora }: PartSettings,
): Promise<Trainable<Addend>> {
  const mode = { dropout, seed, otherMasks: plan.layers.length };
  if (!freezeLora) return trainableLora({ ...plan, ...stackExperts(plan, base) }, mode);
  const ofExpert = plan.layers.find(({ module }) => isOfExpert(module));
  if (ofExpert === undefined) return await frozenLora(plan, mode);
  const cause = `--freeze-lora: factors of experts (${quote(ofExpert.module)}) are trained with the others`;
  throw new RandloraError("usage", cause, "leave --freeze-lora out, or merge the LoRA and train a RandLoRA");
}

/** RandLoRA knows modules alone: of a LoRA's `target_parameters` its configuration could not say which they are. */
function refuseParameters({ adapter, config }: LoraPlan): void {
  const [parameter] = config.targets.parameters ?? [];
  if (parameter === undefined) return;
  const cause = `its target_parameters name ${quote(parameter)}, and RandLoRA adapts modules alone`;
  throw new RandloraError("adapter", `${oneLine(adapter.path)}: ${cause}`, "merge it, and train a new adapter");
}

/** A new RandLoRA on the modules of a LoRA. */
async function beside({ layers }: LoraPlan, input: OpenInput, settings: PartSettings): Promise<Trainable> {
  const targets: Targets = {
    modules: layers.map(({ module: name, tensor, out, in: width, dtype }) => ({ name, tensor, out, in: width, dtype })),
    // What says which modules are meant is the LoRA's.
    config: { target_modules: settings.targets, layers_to_transform: null },
  };
  const source = await openNewRandlora(input, settings, targets);
  return trainableRandlora(source, settings, input.seed);
}

/** One adapter of both. */
function join(variant: Variant, [randlora, factors]: readonly AdapterContent[]): AdapterContent {
  if (randlora === undefined || factors === undefined) throw new TypeError("a hybrid without its parts");
  return {
    ...randlora,
    config: joinConfigs(randlora.config, factors.config, variant),
    tensors: [...randlora.tensors, ...factors.tensors],
  };
}

/** The bases are written or left out as RandLoRA's are; everything else stays as it is. @throws RandloraError as it does */
async function convertHybrid(adapter: Adapter, wish: ConversionWish): Promise<ConvertedContent> {
  const { content, ...rest } = await convertRandlora(randloraPart(adapter), wish, false);
  const { save_projection: saved } = content.config;
  return {
    ...rest,
    content: {
      ...content,
      config: saved === undefined ? adapter.config : { ...adapter.config, save_projection: saved },
      tensors: [...content.tensors, ...loraPart(adapter).tensors.values()],
    },
  };
}

/** RandLoRA and LoRA on the same modules, which arXiv:2502.00987 proposes in section 6.6: ΔW is the sum of theirs. */
export const hybrid: MethodDefinition<HybridSettings> = {
  name: "hybrid",
  title: "RandLoRA + LoRA",
  peftTypes: [PEFT_TYPE],
  ownTypes: [PEFT_TYPE],
  shared: RANDLORA_BASES.shared,
  check: checkHybrid,
  plan: planHybrid,
  convert: convertHybrid,
  training: hybridTraining,
  beginsWith: [lora],
};
