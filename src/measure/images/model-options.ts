import type { LoadedImageModel, LoadedImageModelOptions } from "./model.ts";
import type { Preprocessing } from "../../data/images/preprocessing.ts";
import type { ModelLocation } from "../../models/folder/locate.ts";
import type { Context } from "../../terminal/options/command.ts";
import { sayQuantized } from "../../chat/load-model.ts";
import type { ImageModelFlags } from "./options.ts";

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
  const { chooseModel } = await import("../../chat/default-model.ts");
  const { checkIsOfImages } = await import("../../models/vision/index.ts");
  const { localPath } = await import("../../models/folder/local-path.ts");
  const { location, adapters } = await chooseModel(
    { model, adapters: adapter, scales, generator },
    { model: (name) => localPath(name, "model", context), adapter: (name) => localPath(name, "adapter", context) },
  );
  await checkIsOfImages(location.folder);
  return {
    location,
    async open({ preprocessing, withoutText }) {
      const { LoadedImageModel } = await import("./model.ts");
      const { NAMED_BLOCKS } = await import("../../compute/device/dtype.ts");
      const { noteOfBlocks } = await import("../../adapters/merge/trained-in-blocks.ts");
      const { openDevice } = await import("../../compute/open-device.ts");
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
