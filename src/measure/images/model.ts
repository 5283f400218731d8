import type { Device } from "../../compute/device/device.ts";
import type { RoundedDtype, KernelDtype } from "../../compute/device/dtype.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { type AdapterChoice, MergedCheckpoint } from "../../adapters/merge/merged-checkpoint.ts";
import { classesBeside } from "../../adapters/merge/heads.ts";
import type { ModelLocation } from "../../models/folder/locate.ts";
import { HEAD_BIAS, HEAD_WEIGHT, type ImageConfig } from "../../models/vision/config.ts";
import type { Head } from "../../models/vision/heads.ts";
import { ImageModel } from "../../models/vision/image-model.ts";
import { loadImageConfig } from "../../models/vision/index.ts";
import type { Size } from "../../models/vision/patches.ts";
import type { GeneratorName } from "../../compute/random/names.ts";
import type { TensorReader } from "../../files/safetensors/checkpoint.ts";
import { dtypeBytes, isFloat } from "../../files/safetensors/dtype.ts";
import { widenToF32 } from "../../files/safetensors/numbers.ts";
import { readRows } from "../../compute/tensor/read-rows.ts";
import { Run } from "../../compute/tensor/run.ts";
import { type Tensor, tensorBytes, tensorIn } from "../../compute/tensor/tensor.ts";

export interface LoadedImageModelOptions {
  readonly adapters: readonly AdapterChoice[];
  readonly generator?: GeneratorName | undefined;
  /** Of the images; by default the size that the checkpoint's positions are for. */
  readonly size?: Size | undefined;
  /** Leave the encoder of texts out. */
  readonly withoutText?: boolean | undefined;
  /** Hold what adapters change as W + ΔW in F32, and not as `merge` would write it. */
  readonly exact?: boolean | undefined;
  /** How matrices are held, by their names in the checkpoint; by default as they are stored. */
  readonly dtype?: ((names: readonly string[]) => KernelDtype | undefined) | undefined;
  /** The format that the layers' weights are quantized to, once adapters are added. */
  readonly quantize?: RoundedDtype | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A head that was trained: `linear`, transformers' own; `cls`, a matrix without a bias for the normed class token. */
export interface TrainedHead {
  readonly kind: "linear" | "cls";
  readonly head: Head;
  /** The names of its rows. */
  readonly classes: readonly string[];
}

/** A model of images with adapters added, in GPU memory. */
export class LoadedImageModel implements Disposable {
  readonly gpu: Device;
  readonly model: ImageModel;
  /** The checkpoint's own head, or an adapter's. */
  readonly trained: TrainedHead | undefined;
  /** What the user should know of the adapters: one line each. */
  readonly notes: readonly string[];

  private constructor(gpu: Device, model: ImageModel, trained: TrainedHead | undefined, notes: readonly string[]) {
    this.gpu = gpu;
    this.model = model;
    this.trained = trained;
    this.notes = notes;
  }

  /**
   * Loads a model, with the weights that `merge` would write, unless they are to be exact.
   * @throws RandloraError `file`, `format`, `model`, `adapter`, `numeric`, `memory`, `gpu`; the signal's reason when it is
   *   aborted
   */
  static async open(
    gpu: Device,
    { folder, weights }: ModelLocation,
    { adapters, generator, size, withoutText, exact = false, dtype, quantize, signal }: LoadedImageModelOptions,
  ): Promise<LoadedImageModel> {
    const merged = { generator, dtype: exact ? "f32" : "keep" } as const;
    await using reader = await MergedCheckpoint.open(weights ?? folder, adapters, merged);
    await reader.load(gpu, { signal });
    const { config, kind, classes } = await describeHead(await loadImageConfig(folder, reader.tensors), reader);
    using resources = new DisposableStack();
    const model = resources.use(ImageModel.allocate(gpu, reader, config, { size, withoutText, dtype, quantize }));
    await model.fill(undefined, signal);
    const head = kind === "cls" ? await placeClassHead(gpu, reader, config) : model.head;
    resources.move();
    return new LoadedImageModel(gpu, model, head && kind && { kind, head, classes }, reader.notes);
  }

  /**
   * Records a pass, runs it, and reads the rows of its result.
   * @throws RandloraError `numeric` where a number is not finite; `memory`, `gpu`
   */
  async rows(record: (run: Run) => Tensor): Promise<Float32Array[]> {
    using run = new Run(this.gpu);
    const y = run.keep(record(run));
    try {
      await run.submit();
      const [rows, cols] = y.shape;
      const values = await readRows(this.gpu, y, 0, rows);
      if (!values.every(Number.isFinite)) {
        const hint = "the weights are broken, or an adapter makes them too large";
        throw new RandloraError("numeric", "the model's results are not finite numbers", hint);
      }
      return Array.from({ length: rows }, (_, row) => values.slice(row * cols, (row + 1) * cols));
    } finally {
      this.gpu.memory.release(y.buffer);
    }
  }

  [Symbol.dispose](): void {
    if (this.trained?.kind === "cls") this.gpu.memory.release(this.trained.head.weight.buffer);
    this.model.release();
  }
}

interface Described {
  readonly config: ImageConfig;
  readonly kind: TrainedHead["kind"] | undefined;
  readonly classes: readonly string[];
}

/**
 * Which head there is, and what its rows are called: as the file beside the adapter says, else config.json.
 * @throws RandloraError as `classesBeside`
 */
async function describeHead(found: ImageConfig, reader: MergedCheckpoint): Promise<Described> {
  const { classifier, labels } = found;
  if (labels.length === 0) return { config: found, kind: undefined, classes: [] };
  const { origin: folder, info } = reader.get(HEAD_WEIGHT);
  const [rows = 0] = info.shape;
  const beside = folder === undefined ? undefined : await classesBeside(folder, rows);
  const classes = beside ?? labels;
  if (classifier === undefined) return { config: found, kind: "cls", classes };
  // What config.json says of classes is said of the base's head.
  const [, features = 0] = classifier.weight[1];
  const own = {
    weight: [HEAD_WEIGHT, [classes.length, features]],
    bias: [HEAD_BIAS, [classes.length]],
  } as const;
  return { config: { ...found, classifier: own }, kind: "linear", classes };
}

/** Reads the matrix of a head of the class token. @throws RandloraError `model` for one of another width */
async function placeClassHead(gpu: Device, reader: TensorReader, { vision }: ImageConfig): Promise<Head> {
  const { info, file } = reader.get(HEAD_WEIGHT);
  const [rows = 0, cols = 0] = info.shape;
  const { width } = vision.encoder;
  if (info.shape.length !== 2 || cols !== width || !isFloat(info.dtype)) {
    const cause = `${HEAD_WEIGHT}: [${info.shape.join(", ")}] in ${info.dtype} reads no class token of ${width} numbers`;
    throw new RandloraError("model", `${oneLine(file.path)}: ${cause}`, "do both belong to one model?");
  }
  const bytes = new Uint8Array(rows * cols * dtypeBytes(info.dtype));
  await reader.read(HEAD_WEIGHT, bytes);
  const values = new Float32Array(rows * cols);
  widenToF32(bytes, info.dtype, values);
  const shape = [rows, cols] as const;
  const weight = tensorIn(gpu.memory.allocate("head", tensorBytes(shape, "F32")), shape, "F32");
  const padded = new Float32Array(rows * weight.pitch);
  for (let row = 0; row < rows; row++) padded.set(values.subarray(row * cols, (row + 1) * cols), row * weight.pitch);
  gpu.write(weight.buffer, padded);
  return { weight, bias: undefined };
}
