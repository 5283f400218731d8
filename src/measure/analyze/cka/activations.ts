import { outputsOf } from "../../../models/blocks/block.ts";
import type { Decoder } from "../../../models/decoder/decoder.ts";
import { recordSamples } from "../../../models/decoder/training.ts";
import { recordGemm } from "../../../compute/tensor/gemm.ts";
import { readRows } from "../../../compute/tensor/read-rows.ts";
import { Run } from "../../../compute/tensor/run.ts";
import { sliceRows, type Tensor } from "../../../compute/tensor/tensor.ts";
import type { DataSet, MicroBatch } from "../../../data/text/samples/types.ts";
import { type SamplePass, samplePasses } from "../samples.ts";
import { watching } from "./watching.ts";

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
export function roomFor(names: readonly string[], width: number, samples: number): Activations[] {
  return names.map((name) => ({ name, width, rows: new Float32Array(samples * width) }));
}

/**
 * Runs a pass, and takes what it says of sample number `first` and those after it.
 * @param seen of each module a row for each sample of the pass, one module below the other; released
 * @throws RandloraError `gpu`, `memory`
 */
export async function takeRows(run: Run, seen: Tensor, into: readonly Activations[], first: number): Promise<void> {
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
