import { readPreprocessing } from "../../../data/images/preprocessing.ts";
import { openImageVariant, Variants } from "../variants.ts";
import { filesToMeasure, openSamples, readSamples } from "../samples.ts";
import { type Activations, collectActivations, collectImageActivations, outputModules } from "./activations.ts";
import type { Variant, VariantsPlan } from "../plan-variants.ts";
import type { Device } from "../../../compute/device/device.ts";
import type { Split } from "../../../data/images/datasets/types.ts";
import type { Context } from "../../../terminal/options/command.ts";

/** What is asked of samples. */
export interface SampleFlags {
  readonly data: string;
  readonly samples: number | undefined;
  readonly maxLength: number | undefined;
  readonly dataset: string | undefined;
  readonly split: Split | undefined;
}

/** Samples, and what a model's blocks say of them. */
export interface Outputs {
  readonly path: string;
  /** How many there are. */
  readonly length: number;
  /** What they are called. */
  readonly unit: "samples" | "images";
  /**
   * Loads what serves all variants, for as long as `resources`.
   * @throws RandloraError as `Variants.load`
   */
  begin(
    gpu: Device,
    resources: AsyncDisposableStack,
    onSamples: (samples: number) => void,
  ): Promise<(variant: Variant) => Promise<readonly Activations[]>>;
}

/** Of a language model. @throws RandloraError as `readSamples` */
export async function outputsForTexts(plan: VariantsPlan, flags: SampleFlags, context: Context): Promise<Outputs> {
  const { signal, log } = context;
  const { data, samples: most, maxLength } = flags;
  const set = await readSamples(plan.location.folder, await filesToMeasure(data), { most, maxLength, signal });
  return {
    path: set.path,
    length: set.length,
    unit: "samples",
    async begin(gpu, resources, onSamples) {
      const options = { signal, onNote: (note: string) => log.warn(note), apart: true };
      const variants = resources.use(await Variants.load(gpu, plan, options));
      return (variant) => variants.with(variant, (decoder) => collectActivations(decoder, set, { signal, onSamples }));
    },
  };
}

/** Of a model of images. @throws RandloraError as `openSamples` and `readPreprocessing` */
export async function outputsForImages(plan: VariantsPlan, flags: SampleFlags, context: Context): Promise<Outputs> {
  const { signal, log } = context;
  const { data, dataset, split, samples: most } = flags;
  const set = await openSamples({ data, dataset, split, most });
  const preprocessing = await readPreprocessing(plan.location.folder);
  const modules = await outputModules(plan.location);
  return {
    path: set.path,
    length: set.labels.length,
    unit: "images",
    begin: (gpu, _, onSamples) =>
      Promise.resolve(async (variant) => {
        const size = [preprocessing.height, preprocessing.width] as const;
        const options = { size, withoutText: true, signal, onNote: (note: string) => log.warn(note) };
        using opened = await openImageVariant(gpu, plan, variant, options);
        const batches = { preprocessing, batchSize: IMAGES_AT_ONCE, signal };
        return await collectImageActivations(opened, set, { ...batches, modules, onSamples });
      }),
  };
}

/** Images that go through a model together. */
export const IMAGES_AT_ONCE = 32;
