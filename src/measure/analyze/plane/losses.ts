import { readPreprocessing } from "../../../data/images/preprocessing.ts";
import { ImagePlane } from "./image-plane.ts";
import { KeptBatches } from "../../images/batches.ts";
import { Variants } from "../variants.ts";
import { filesToMeasure, openSamples, readSamples } from "../samples.ts";
import { LossPlane } from "./loss-plane.ts";
import { needsAllInF32, type Variant, type VariantsPlan } from "../plan-variants.ts";
import type { Plane } from "./plane.ts";
import type { Device } from "../../../compute/device/device.ts";
import type { Context } from "../../../terminal/options/command.ts";
import { IMAGES_AT_ONCE, type SampleFlags } from "../cka/outputs.ts";
import type { HeadChoice } from "../../images/model-options.ts";

/** Samples, and a model's loss of them. */
export interface Losses {
  readonly samples: number;
  /** Supervised ones; undefined of images. */
  readonly tokens: number | undefined;
  /** What a point costs, in what `Plane.loss` tells. */
  readonly items: number;
  readonly unit: "tokens" | "images";
  /** Loads three corners, for as long as `resources`. @throws RandloraError as `LossPlane.load` or `ImagePlane.load` */
  begin(gpu: Device, resources: AsyncDisposableStack, corners: readonly [Variant, Variant, Variant]): Promise<Plane>;
}

/** Of a language model. @throws RandloraError as `readSamples` */
export async function lossesOfTexts(plan: VariantsPlan, flags: SampleFlags, context: Context): Promise<Losses> {
  const { signal, log } = context;
  const { data, samples: most, maxLength } = flags;
  const set = await readSamples(plan.location.folder, await filesToMeasure(data), { most, maxLength, signal });
  const { samples, supervisedTokens, tokens } = set.totals;
  return {
    samples,
    tokens: supervisedTokens,
    items: tokens,
    unit: "tokens",
    async begin(gpu, resources, corners) {
      const onNote = (note: string) => log.warn(note);
      const options = { allInF32: needsAllInF32(plan), signal, onNote };
      const variants = resources.use(await Variants.load(gpu, plan, options));
      return resources.use(await LossPlane.load(variants, plan, corners, set));
    },
  };
}

/** Of a model of images with a head. @throws RandloraError as `openSamples` and `readPreprocessing` */
export async function lossesOfImages(
  plan: VariantsPlan,
  flags: SampleFlags,
  head: HeadChoice,
  context: Context,
): Promise<Losses> {
  const { signal, log } = context;
  const { data, dataset, split, samples: most } = flags;
  const { folder } = plan.location;
  // What cannot be read is found out before a model is loaded.
  const set = await openSamples({ data, dataset, split, most });
  const preprocessing = await readPreprocessing(folder);
  const samples = set.labels.length;
  return {
    samples,
    tokens: undefined,
    items: samples,
    unit: "images",
    async begin(gpu, resources, corners) {
      const plane = await ImagePlane.load(gpu, plan, corners, {
        size: [preprocessing.height, preprocessing.width],
        withoutText: head.withoutText,
        signal,
        onNote: (note) => log.warn(note),
        classifierOf: (opened) => head.classifierOf(opened, set, folder),
        async batchesOf({ kind, classes }) {
          // A trained head has its own order of the classes, and may know more of them.
          const labeled = kind === "zero-shot" ? set : await openSamples({ data, dataset, split, most, classes });
          return new KeptBatches(labeled, { preprocessing, batchSize: IMAGES_AT_ONCE, signal });
        },
      });
      return resources.use(plane);
    },
  };
}
