import type { Within } from "../../adapters/base/base.ts";
import type { RunData } from "./run.ts";
import type { Context } from "../../terminal/options/command.ts";
import type { ImageBatch } from "../../train/images/batch.ts";
import type { MicroBatch } from "../../data/text/samples/types.ts";
import type { ModelFacts } from "../../train/settings/resolve-settings.ts";
import type { FlatSettings, TrainSettings } from "../../train/settings/settings.ts";
import type { RunSources } from "../../train/command/settings.ts";

/** The data of the runs of a comparison. */
export interface RunsData<Batch> extends Disposable {
  /** Those of a run, with paths of this machine. @throws RandloraError as what reads them */
  load(settings: TrainSettings): Promise<RunData<Batch>>;
}

/** Texts, read once for all runs that have the same. */
export async function textData({ location }: RunSources, { signal }: Context): Promise<RunsData<MicroBatch>> {
  const { loadRunData } = await import("../../train/text/data.ts");
  const { textSubject } = await import("../../train/text/model.ts");
  let last: { readonly key: string; readonly data: RunData<MicroBatch> } | undefined;
  return {
    async load(settings) {
      // Data that are not split are the same for every seed.
      const key = settings.validSplit === null ? "" : String(settings.seed);
      if (last?.key !== key) {
        const { data } = await loadRunData(settings, location.folder, { signal });
        last = { key, data: { subject: textSubject(data), headParameters: 0 } };
      }
      return last.data;
    },
    [Symbol.dispose]() {},
  };
}

/** Images, found once a seed. */
export async function imageData({ location }: RunSources, context: Context): Promise<RunsData<ImageBatch>> {
  const { loadImageData } = await import("../../train/images/data.ts");
  const { ImageSubject } = await import("../../train/images/subject.ts");
  const { headParameters } = await import("../../train/images/task.ts");
  const { readImageConfig } = await import("../../models/vision/index.ts");
  const config = await readImageConfig(location);
  let last:
    | { readonly seed: number; readonly subject: InstanceType<typeof ImageSubject>; readonly head: number }
    | undefined;
  return {
    async load(settings) {
      const { seed, images } = settings;
      if (last?.seed !== seed) {
        const data = await loadImageData(settings, location, context.signal);
        last?.subject[Symbol.dispose]();
        const subject = new ImageSubject(data, (line) => context.log.warn(line));
        last = {
          seed,
          subject,
          head: images === null ? 0 : headParameters(images, data.train.classes.length, config),
        };
      }
      return { subject: last.subject, headParameters: last.head };
    },
    [Symbol.dispose]: () => last?.subject[Symbol.dispose](),
  };
}

/**
 * The part of a model of images that the settings adapt.
 * @throws RandloraError `usage` for settings that contradict each other or the model
 */
export async function adaptedPart(
  location: RunSources["location"],
  asked: Partial<FlatSettings>,
  facts: NonNullable<ModelFacts["images"]>,
): Promise<Within> {
  const { readImageConfig } = await import("../../models/vision/index.ts");
  const { resolveImages } = await import("../../train/settings/images.ts");
  const { kindOf, withinOf } = await import("../../train/images/task.ts");
  const { gradAccum = 1 } = asked;
  // Rates are each method's own affair.
  const settings = resolveImages(asked, { ...facts, learningRate: 0, gradAccum });
  return withinOf(kindOf(settings), await readImageConfig(location));
}
