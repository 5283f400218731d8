import { OPS } from "../../../compute/tensor/ops/index.ts";
import type { ImageSet, Split } from "../../../data/images/datasets/types.ts";
import { outputsOf } from "../../../models/blocks/block.ts";
import { type Linears, PLAIN_LINEARS } from "../../../models/blocks/linears.ts";
import type { Decoder } from "../../../models/decoder/decoder.ts";
import { recordSamples } from "../../../models/decoder/training.ts";
import { recordGemm } from "../../../compute/tensor/gemm.ts";
import { readRows } from "../../../compute/tensor/read-rows.ts";
import { Run } from "../../../compute/tensor/run.ts";
import { sliceRows, type Tensor } from "../../../compute/tensor/tensor.ts";
import type { DataSet, MicroBatch } from "../../../data/text/samples/types.ts";
import type { ModelLocation } from "../../../models/folder/locate.ts";
import { planEncoder } from "../../../models/vision/encoder.ts";
import { readImageConfig } from "../../../models/vision/index.ts";
import { type BatchOptions, imageBatches } from "../../images/batches.ts";
import type { LoadedImageModel } from "../../images/model.ts";
import { type SamplePass, samplePasses, filesToMeasure, openSamples, readSamples } from "../samples.ts";
import { readPreprocessing } from "../../../data/images/preprocessing.ts";
import { openImageVariant, Variants } from "../variants.ts";
import type { Variant, VariantsPlan } from "../plan-variants.ts";
import type { Device } from "../../../compute/device/device.ts";
import type { Context } from "../../../terminal/options/command.ts";

/**
 * Computes what `linears` do, and shows what some of the weights give, before that joins a residual stream.
 * @param outputs whole matrices, as projections have them
 * @param show told the product with matrix number `at` of them, with its bias; it records what it wants of it, and releases
 *   nothing
 */
function watching(linears: Linears, outputs: readonly Tensor[], show: (y: Tensor, at: number) => void): Linears {
  const places = new Map(outputs.map(({ buffer }, at) => [buffer, at]));
  return {
    applyGrouped: linears.applyGrouped,
    apply(recorder, projection) {
      const at = places.get(projection.weight.buffer);
      if (at === undefined) return linears.apply(recorder, projection);
      const { residual } = projection;
      const y = linears.apply(recorder, { ...projection, residual: undefined });
      show(y, at);
      if (residual === undefined) return y;
      const { y: sum } = recorder.apply(OPS.add, { a: residual, b: y }, {});
      recorder.release(y);
      return sum;
    },
  };
}

/** What a module says of each sample: (samples, width) F32, row by row without gaps. */
export interface Activations {
  /** The module's path in the checkpoint: `model.layers.0.self_attn.o_proj`. */
  readonly name: string;
  readonly width: number;
  readonly rows: Float32Array<ArrayBuffer>;
}

interface ActivationOptions {
  /** Told the samples of a pass when it is done. */
  readonly onSamples?: (samples: number) => void;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The outputs of each block's attention (of its output projection) and of its MLP (of its last matrix), before they are
 * added to the residual stream: for every sample the mean over its tokens. Two modules a layer, in their order; of a
 * mixture of experts attention alone.
 * @throws RandloraError `gpu`, `memory`; the signal's reason when it is aborted
 */
export async function collectActivations(
  decoder: Decoder,
  data: DataSet,
  { onSamples, signal }: ActivationOptions = {},
): Promise<readonly Activations[]> {
  const { gpu, config, weights, linears } = decoder;
  const width = config.hiddenSize;
  const outputs = outputsOf(weights.layers.flat());
  const found = roomFor(namesOf(outputs, weights.tensors), width, data.length);
  using run = new Run(gpu);
  for (const pass of samplePasses(data, config)) {
    signal?.throwIfAborted();
    const { samples } = pass.batch;
    const means = run.allocate("means of outputs", [found.length * samples, width]);
    const pool = poolOf(run, pass);
    const watched = watching(linears, outputs, (b, at) => {
      recordGemm(run, { order: "NN", a: pool, b, y: sliceRows(means, samples * at, samples) });
    });
    run.release(recordSamples(run, config, weights, watched, pass.batch), pool);
    await takeRows(run, means, found, pass.first);
    onSamples?.(samples);
  }
  return found;
}

/** The modules that matrices of a checkpoint belong to. */
function namesOf(matrices: readonly Tensor[], tensors: ReadonlyMap<string, Tensor>): string[] {
  const names = new Map([...tensors].map(([name, { buffer }]) => [buffer, name.replace(/\.weight$/, "")]));
  return matrices.map(({ buffer }) => names.get(buffer) ?? "");
}

/** Room for what each of these modules says of so many samples. */
function roomFor(names: readonly string[], width: number, samples: number): Activations[] {
  return names.map((name) => ({ name, width, rows: new Float32Array(samples * width) }));
}

/**
 * Runs a pass, and takes what it says of sample number `first` and those after it.
 * @param seen of each module a row for each sample of the pass, one module below the other; released
 * @throws RandloraError `gpu`, `memory`
 */
async function takeRows(run: Run, seen: Tensor, into: readonly Activations[], first: number): Promise<void> {
  const { device } = run;
  run.keep(seen);
  try {
    await run.submit();
    const values = await readRows(device, seen, 0, seen.shape[0]);
    const size = values.length / into.length;
    for (const [at, { rows, width }] of into.entries()) {
      rows.set(values.subarray(at * size, (at + 1) * size), first * width);
    }
  } finally {
    device.memory.release(seen.buffer);
  }
}

/** The matrix (samples, tokens) that takes the mean of each sample's tokens. */
function poolOf(run: Run, { batch }: SamplePass): Tensor {
  const { samples, positions, starts } = batch;
  const tokens = positions.length;
  const pool = new Float32Array(samples * tokens);
  const lengths = lengthsOf(batch);
  let sample = -1;
  for (let t = 0; t < tokens; t++) {
    if (starts[t] === t) sample++;
    pool[sample * tokens + t] = 1 / (lengths[sample] ?? NaN);
  }
  return run.upload("means of samples", [samples, tokens], pool);
}

/** Tokens of each sample. */
function lengthsOf({ starts }: MicroBatch): number[] {
  const firsts = [...new Set(starts)];
  return firsts.map((first, i) => (firsts[i + 1] ?? starts.length) - first);
}

interface ImageActivationOptions extends BatchOptions {
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

/** What is asked of samples. */
export interface SampleFlags {
  readonly data: string;
  readonly samples: number | undefined;
  readonly maxLength: number | undefined;
  readonly dataset: string | undefined;
  readonly split: Split | undefined;
}

/** Samples, and what a model's blocks say of them. */
interface Outputs {
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
