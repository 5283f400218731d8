import { loadTokenizer } from "../../data/text/load-tokenizer.ts";
import { promptTemplates } from "../../data/images/prompts.ts";
import { openDevice } from "../../compute/open-device.ts";
import { noteOfBlocks } from "../../adapters/merge/merged-checkpoint.ts";
import { NAMED_BLOCKS } from "../../compute/device/dtype.ts";
import { localPath } from "../../models/folder/local-path.ts";
import { checkIsOfImages } from "../../models/vision/index.ts";
import { chooseModel, sayQuantized } from "../../chat/default-model.ts";
import type { ImageSet } from "../../data/images/datasets/types.ts";
import { Contradiction, RandloraError } from "../../files/errors.ts";
import { ImageClassifier } from "./classifier.ts";
import { LoadedImageModel, type LoadedImageModelOptions } from "./model.ts";
import type { Preprocessing } from "../../data/images/preprocessing.ts";
import type { ModelLocation } from "../../models/folder/locate.ts";
import type { Context } from "../../terminal/options/command.ts";
import type { HeadFlags, ImageModelFlags } from "./options.ts";

/** A model of images that was found, and is opened once everything else is known. */
export interface FoundModel {
  readonly location: ModelLocation;
  open(options: { readonly preprocessing?: Preprocessing; readonly withoutText: boolean }): Promise<LoadedImageModel>;
}

/**
 * Finds a model and its adapters. Opening it opens a device as well, both for as long as `resources`.
 * @throws RandloraError as `chooseModel`, `checkIsOfImages`; opening: as `openDevice` and `LoadedImageModel.open`
 */
export async function findLoadedImageModel(
  model: string,
  { adapter, scale: scales, generator, quantize }: ImageModelFlags,
  resources: AsyncDisposableStack,
  context: Context,
): Promise<FoundModel> {
  const { location, adapters } = await chooseModel(
    { model, adapters: adapter, scales, generator },
    { model: (name) => localPath(name, "model", context), adapter: (name) => localPath(name, "adapter", context) },
  );
  await checkIsOfImages(location.folder);
  return {
    location,
    async open({ preprocessing, withoutText }) {
      const { device, signal, log } = context;
      const gpu = await openDevice(device);
      resources.defer(() => gpu.close());
      const size = preprocessing && ([preprocessing.height, preprocessing.width] as const);
      const blocks = quantize && NAMED_BLOCKS[quantize];
      const options: LoadedImageModelOptions = { adapters, generator, size, withoutText, quantize: blocks, signal };
      const opened = resources.use(await LoadedImageModel.open(gpu, location, options));
      const ofBlocks = await Promise.all(adapters.map(({ path }) => noteOfBlocks(path)));
      for (const note of [...opened.notes, ...ofBlocks.flat()]) log.warn(note);
      await sayQuantized(opened.model.quantized, quantize, context);
      return opened;
    },
  };
}

/** A head as it was asked for, of whichever model. */
export interface HeadChoice {
  /** No encoder of texts is needed. */
  readonly withoutText: boolean;
  /**
   * @param set the classes of a head of texts, and of one whose rows nothing names
   * @param folder of the model's tokenizer
   * @throws RandloraError as `ImageClassifier.trained` and `ImageClassifier.zeroShot`
   */
  classifierOf(
    opened: LoadedImageModel,
    set: Pick<ImageSet, "classes" | "texts">,
    folder: string,
  ): Promise<ImageClassifier>;
}

/**
 * @param dataset whose templates `openai` means
 * @throws RandloraError `usage` for flags that contradict each other; as `promptTemplates`
 */
export async function chooseHead({ head, templates }: HeadFlags, dataset: string | undefined): Promise<HeadChoice> {
  if (templates !== undefined && head !== undefined && head !== "zero-shot") {
    const cause = `--templates and --head ${head}: such a head reads no texts`;
    throw new Contradiction(["templates", "head"], cause, "leave one out");
  }
  const prompts = await promptTemplates(templates ?? "simple", dataset);
  return {
    withoutText: head === "linear" || head === "cls",
    async classifierOf(opened, { classes, texts }, folder) {
      if (head === "zero-shot" || (head === undefined && readsTextsAlone(opened))) {
        const options = { classes, texts, templates: prompts, loadTokenizer: () => loadTokenizer(folder) };
        return await ImageClassifier.zeroShot(opened, options);
      }
      if (templates !== undefined) {
        throw new RandloraError("usage", "--templates: the head was trained", "give --head zero-shot as well");
      }
      return ImageClassifier.trained(opened, head, classes);
    },
  };
}

/** Is there no head but one of texts? */
function readsTextsAlone({ trained, model }: LoadedImageModel): boolean {
  return trained === undefined && model.text !== undefined;
}
