import { outputsOf } from "../../../models/blocks/block.ts";
import { PLAIN_LINEARS } from "../../../models/blocks/linears.ts";
import type { LoadedImageModel } from "../../images/model.ts";
import { type BatchOptions, imageBatches } from "../../images/batches.ts";
import type { ImageSet } from "../../../data/images/datasets/types.ts";
import type { ModelLocation } from "../../../models/folder/locate.ts";
import { planEncoder } from "../../../models/vision/encoder.ts";
import { readImageConfig } from "../../../models/vision/index.ts";
import { OPS } from "../../../compute/tensor/ops/index.ts";
import { Run } from "../../../compute/tensor/run.ts";
import { sliceRows } from "../../../compute/tensor/tensor.ts";
import { type Activations, roomFor, takeRows } from "./activations.ts";
import { watching } from "./watching.ts";

export interface ImageActivationOptions extends BatchOptions {
  /** What the modules are called, two a layer; see {@link outputModules}. */
  readonly modules: readonly string[];
  /** Told the images of a pass when it is done. */
  readonly onSamples?: ((images: number) => void) | undefined;
}

/** The modules that end the blocks of a model of images, by its checkpoint's names: attention's, then the MLP's, of each layer. */
export async function outputModules(location: ModelLocation): Promise<string[]> {
  const { vision } = await readImageConfig(location);
  const planned = outputsOf(planEncoder(vision.encoder).flat());
  return planned.map(({ parts }) => (parts[0]?.name ?? "").replace(/\.weight$/, ""));
}

/**
 * The outputs of each block's attention (of its output projection) and of its MLP (of its last matrix), before they are
 * scaled and added to the residual stream: for every image that of the class token. Two modules a layer, in their order.
 * @throws RandloraError as `imageBatches`; `gpu`, `memory`
 */
export async function collectImageActivations(
  { gpu, model }: LoadedImageModel,
  set: ImageSet,
  { modules, onSamples, ...options }: ImageActivationOptions,
): Promise<readonly Activations[]> {
  const { vision } = model;
  const { tokens } = vision;
  const { width } = vision.config.encoder;
  const found = roomFor(modules, width, set.labels.length);
  using run = new Run(gpu);
  let first = 0;
  for await (const { images } of imageBatches(set, options)) {
    const { count } = images;
    const seen = run.allocate("class tokens of outputs", [found.length * count, width]);
    const places = Uint32Array.from({ length: count }, (_, image) => image * tokens);
    const indices = run.upload("class tokens", [1, count], places);
    const linears = watching(PLAIN_LINEARS, vision.outputs, (x, at) => {
      run.apply(OPS.rows, { x, indices }, {}, { y: sliceRows(seen, count * at, count) });
    });
    run.release(model.recordHidden(run, images, { linears }), indices);
    await takeRows(run, seen, found, first);
    first += count;
    onSamples?.(count);
  }
  return found;
}
