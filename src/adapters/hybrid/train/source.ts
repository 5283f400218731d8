import { Contradiction } from "../../../files/errors.ts";
import { frozenLora } from "../../lora/frozen.ts";
import { existingLora, type LoraSource, newLora } from "../../lora/train/source.ts";
import { loraTraining } from "../../lora/train/training.ts";
import { trainableLora } from "../../lora/train/trained.ts";
import { newRandlora } from "../../randlora/train/source.ts";
import { trainableRandlora } from "../../randlora/train/trained.ts";
import { randloraTraining } from "../../randlora/train/training.ts";
import type { OpenInput } from "../../training/definition.ts";
import type { Addend, Trainable } from "../../training/method.ts";
import type { AdapterSettings } from "../../training/settings.ts";
import { findTargets, type Targets } from "../../base/target-modules.ts";
import type { Adapter } from "../../adapter.ts";
import { isLoraAdapter, loraPart, randloraPart } from "../config.ts";
import { requireSameModules } from "../plan.ts";
import type { HybridSettings } from "./settings.ts";

/** What the parts are told: none of them has magnitudes. */
type PartSettings = AdapterSettings & HybridSettings & { readonly dora: false };

/** What is trained, part by part. */
export interface HybridParts {
  readonly randlora: Trainable;
  readonly factors: Trainable<Addend>;
}

/**
 * Both parts: new ones; or those of a hybrid adapter; or a LoRA that exists, with a new RandLoRA on its modules.
 * @throws RandloraError as the parts' own methods do; `usage` where a LoRA that does not exist is to be frozen
 */
export async function openParts(
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
    const factors = newLora(own, findTargets(base, settings), input.model);
    return {
      randlora: await randloraTraining.open(input, settings, undefined),
      factors: await trained(factors, input, settings),
    };
  }
  if (isLoraAdapter(adapter)) {
    const factors = await existingLora(adapter, base, settings);
    return { randlora: await beside(factors, input, settings), factors: await trained(factors, input, settings) };
  }
  const randlora = await randloraTraining.open(input, settings, randloraPart(adapter));
  const factors = await trained(await existingLora(loraPart(adapter), base, settings), input, settings);
  const names = ({ modules }: Trainable) => modules.map(({ name }) => name);
  requireSameModules(adapter, names(randlora), names(factors));
  return { randlora, factors };
}

/** PEFT draws each adapter's dropout for itself: the masks of the two parts differ. */
async function trained(
  source: LoraSource,
  { seed }: OpenInput,
  { dropout, freezeLora }: PartSettings,
): Promise<Trainable<Addend>> {
  const mode = { dropout, seed, otherMasks: source.modules.length };
  return freezeLora ? await frozenLora(source, mode) : trainableLora(source, mode);
}

/** A new RandLoRA on the modules of a LoRA. */
async function beside({ modules }: LoraSource, input: OpenInput, settings: PartSettings): Promise<Trainable> {
  const targets: Targets = {
    modules: modules.map(({ name, tensor, out, in: input_ }) => {
      const dtype = input.base.tensors.get(tensor)?.dtype;
      if (dtype === undefined) throw new RangeError(`${tensor} is no tensor of the base`);
      return { name, tensor, out, in: input_, dtype };
    }),
    // What says which modules are meant is the LoRA's.
    config: { target_modules: settings.targets, layers_to_transform: null },
  };
  const source = await newRandlora(input, settings, targets);
  return trainableRandlora(source, settings, input.seed);
}
