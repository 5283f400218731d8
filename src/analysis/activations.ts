import type { DeviceBuffer } from "../device/device.ts";
import type { Decoder } from "../models/decoder.ts";
import { type Linears, PLAIN_LINEARS, type Projection } from "../models/linears.ts";
import { recordSamples } from "../models/training.ts";
import type { DecoderWeights } from "../models/weights.ts";
import { recordGemm } from "../tensor/gemm.ts";
import { OPS } from "../tensor/ops/index.ts";
import { readRows } from "../tensor/read-rows.ts";
import type { Recorder } from "../tensor/recorder.ts";
import { Run } from "../tensor/run.ts";
import { sliceRows, type Tensor } from "../tensor/tensor.ts";
import type { DataSet, MicroBatch } from "../text/data/types.ts";
import { type SamplePass, samplePasses } from "./samples.ts";

/** What a module says of each sample: (samples, width) F32, row by row without gaps. */
export interface Activations {
  /** The module's path in the checkpoint: `model.layers.0.self_attn.o_proj`. */
  readonly name: string;
  readonly width: number;
  readonly rows: Float32Array<ArrayBuffer>;
}

export interface ActivationOptions {
  /** Told the samples of a pass when it is done. */
  readonly onSamples?: (samples: number) => void;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The outputs of each block's attention (of its output projection) and of its MLP (of its last matrix), before they are
 * added to the residual stream: for every sample the mean over its tokens. Two modules a layer, in their order.
 * @throws RandloraError `gpu`, `memory`; the signal's reason when it is aborted
 */
export async function collectActivations(
  decoder: Decoder,
  data: DataSet,
  { onSamples, signal }: ActivationOptions = {},
): Promise<readonly Activations[]> {
  const { gpu, config, weights } = decoder;
  const width = config.hiddenSize;
  const names = outputNames(weights);
  const found = names.map((name) => ({ name, width, rows: new Float32Array(data.length * width) }));
  using run = new Run(gpu);
  for (const pass of samplePasses(data, config)) {
    signal?.throwIfAborted();
    const { samples } = pass.batch;
    const means = run.allocate("means of outputs", [names.length * samples, width]);
    const watching = new Watching(weights, poolOf(run, pass), means);
    run.release(recordSamples(run, config, weights, watching, pass.batch));
    run.keep(means);
    try {
      await run.submit();
      const values = await readRows(gpu, means, 0, names.length * samples);
      for (const [at, { rows }] of found.entries()) {
        const size = samples * width;
        rows.set(values.subarray(at * size, (at + 1) * size), pass.first * width);
      }
    } finally {
      gpu.memory.release(means.buffer);
    }
    onSamples?.(samples);
  }
  return found;
}

/** The modules whose outputs are looked at, in the order of a pass. */
function outputNames({ layers, tensors }: DecoderWeights): string[] {
  const names = new Map([...tensors].map(([name, { buffer }]) => [buffer, name.replace(/\.weight$/, "")]));
  return layers.flatMap(({ output, down }) => [output, down].map(({ buffer }) => names.get(buffer) ?? ""));
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

/** Computes what the weights as they are do, and means of what ends a block. */
class Watching implements Linears {
  readonly #outputs: ReadonlySet<DeviceBuffer>;
  readonly #pool: Tensor;
  readonly #means: Tensor;
  #next = 0;

  /** @param means gets, one below the other, a row for each sample of each output */
  constructor({ layers }: DecoderWeights, pool: Tensor, means: Tensor) {
    this.#outputs = new Set(layers.flatMap(({ output, down }) => [output.buffer, down.buffer]));
    this.#pool = pool;
    this.#means = means;
  }

  apply(recorder: Recorder, projection: Projection): Tensor {
    if (!this.#outputs.has(projection.weight.buffer)) return PLAIN_LINEARS.apply(recorder, projection);
    const { residual } = projection;
    const b = PLAIN_LINEARS.apply(recorder, { ...projection, residual: undefined });
    const [samples] = this.#pool.shape;
    const y = sliceRows(this.#means, samples * this.#next++, samples);
    recordGemm(recorder.run, { order: "NN", a: this.#pool, b, y });
    if (residual === undefined) return b;
    const { y: sum } = recorder.apply(OPS.add, { a: residual, b }, {});
    recorder.release(b);
    return sum;
  }
}
