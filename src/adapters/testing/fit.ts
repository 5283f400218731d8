import type { Device } from "../../compute/device/device.ts";
import { itemAt } from "../../files/item-at.ts";
import { ownedBy } from "../../compute/device/owned.ts";
import { readRows } from "../../compute/tensor/read-rows.ts";
import { Run } from "../../compute/tensor/run.ts";
import { Tape } from "../../compute/tensor/tape.ts";
import { pitchOf, type Tensor, tensorIn } from "../../compute/tensor/tensor.ts";
import { AdamW } from "../../train/loop/adamw.ts";
import type { MethodDefinition } from "../method/method.ts";
import { Parameters } from "../method/parameters.ts";
import type { AdapterSettings } from "../method/settings.ts";

const MODULE = "model.layers.0.self_attn.q_proj";

/** What is fitted, and how. */
export interface FitProblem {
  /** Rows and columns of the target, a square matrix, row-major. */
  readonly size: number;
  readonly target: Float32Array;
  readonly steps: number;
  /** At the beginning; it falls to nothing along half a cosine. */
  readonly learningRate: number;
  readonly seed: number;
}

/** What came out. */
export interface Fit {
  readonly parameters: number;
  /** The rank that it was given, or has by default. */
  readonly rank: number;
  /** ‖ΔW − target‖² / ‖target‖², 1 at the beginning. */
  readonly error: number;
  /** ΔW (size, size), row-major. */
  readonly delta: Float64Array;
}

/**
 * Fits ΔW of one method to a matrix: W is the identity, each of whose rows is a sample as well, and the loss is
 * ½‖ΔW − target‖². What is trained is what any run trains: the method's own parameters, products and gradients, and AdamW.
 * @param given the method's own settings, and `rank`
 */
export async function fitMethod(
  device: Device,
  method: MethodDefinition,
  given: Partial<AdapterSettings> & Readonly<Record<string, unknown>>,
  { size, target, steps, learningRate, seed }: FitProblem,
): Promise<Fit> {
  const { training } = method;
  const rank = given.rank ?? training.usual.rank;
  const settings: AdapterSettings = {
    rank,
    alpha: (training.usual.alphaPerRank ?? 1) * rank,
    dropout: 0,
    targets: ["q_proj"],
    layers: [],
    initAdapter: null,
    initCommit: null,
    initSha256: null,
    ...training.resolve(given),
    ...given,
  };
  const base = {
    path: "the identity",
    tensors: new Map([[`${MODULE}.weight`, { dtype: "F32" as const, shape: [size, size] }]]),
    config: { model_type: "llama" },
  };
  // No method for adapters asks what the decoder is like beside its tensors.
  const input = {
    base,
    matrices: [],
    model: "identity",
    dtype: "f32" as const,
    seed,
    began: undefined,
    signal: undefined,
  };
  const trainable = await training.open(input, settings, undefined);
  const parameters = new Parameters(device, trainable.parameters);
  const matrix = (label: string, values: (row: number, col: number) => number): Tensor => {
    const pitch = pitchOf(size, "F32");
    const numbers = new Float32Array(size * pitch);
    for (let row = 0; row < size; row++)
      for (let col = 0; col < size; col++) numbers[row * pitch + col] = values(row, col);
    const buffer = device.memory.allocate(label, numbers.byteLength);
    device.write(buffer, numbers);
    return tensorIn(buffer, [size, size], "F32");
  };
  const identity = (row: number, col: number) => Number(row === col);
  const weight = matrix("W", identity);
  const x = matrix("x", identity);
  const wanted = matrix("−(W + target)", (row, col) => -identity(row, col) - itemAt(target, col * size + row));
  const owner = new DisposableStack();
  const placed = await trainable.place({
    gpu: ownedBy(owner, device),
    parameters,
    tensors: new Map([[`${MODULE}.weight`, weight]]),
    place: { staging: device.staging, tokens: size, microBatches: 1, budget: 2 ** 28, choices: undefined },
  });
  const run = new Run(device, device.staging);
  const tape = new Tape(run);
  for (const { value, gradient } of placed.watched()) tape.watch(value, gradient, value.offset);
  const adamw = new AdamW(device, parameters, { betas: [0.9, 0.999], eps: 1e-12, weightDecay: 0, gradClip: 0 });
  const output = (recorder: Run | Tape, residual: Tensor | undefined) =>
    placed.linears({ kind: "evaluate" }).apply(recorder, { x, weight, bias: undefined, residual });
  placed.begin?.(run);
  for (let step = 0; step < steps; step++) {
    placed.prepare(run);
    // (ΔW − target)ᵀ is also the gradient of the loss by itself.
    const difference = output(tape, wanted);
    tape.backward(difference, difference);
    tape.release(difference);
    placed.finish(run);
    adamw.update(run, step + 1, (learningRate * (1 + Math.cos((Math.PI * step) / steps))) / 2);
    await run.submit();
    await device.idle();
  }
  placed.prepare(run);
  const y = run.keep(output(run, undefined));
  await run.submit();
  const transposed = await readRows(device, y, 0, size);
  const delta = Float64Array.from(transposed, (_, at) => {
    const [row, col] = [Math.floor(at / size), at % size];
    return itemAt(transposed, col * size + row) - identity(row, col);
  });
  const squares = (of: (at: number) => number) => delta.reduce((sum, _, at) => sum + of(at) ** 2, 0);
  const error = squares((at) => itemAt(delta, at) - itemAt(target, at)) / squares((at) => itemAt(target, at));
  const count = parameters.count;
  owner.dispose();
  adamw.release();
  run[Symbol.dispose]();
  parameters.release();
  for (const { buffer } of [weight, x, wanted, y]) device.memory.release(buffer);
  return { parameters: count, rank, error, delta };
}
