import type { Gpu } from "../gpu/gpu.ts";
import type { GpuBuffer } from "../gpu/memory.ts";
import { Stream } from "../gpu/stream.ts";
import { readWith } from "../gpu/transfer.ts";
import { ADAMW_KERNEL, ADAMW_THREADS, adamwParameters } from "../kernels/adamw.ts";
import {
  lossSumKernel,
  lossSumParameters,
  normKernel,
  normParameters,
  squaresKernel,
  squaresParameters,
  squaresPart,
} from "../kernels/norm.ts";
import { STEP_STATE, STEP_STATE_BYTES } from "../kernels/step-state.ts";
import { type Run } from "../tensor/run.ts";
import { type Tensor, tensorIn } from "../tensor/tensor.ts";
import type { Chunk, Parameters } from "../adapters/training/parameters.ts";
import { whole } from "../tensor/row-blocks.ts";

/** torch.optim.AdamW's settings, and clipping. */
export interface AdamWSettings {
  readonly betas: readonly [number, number];
  readonly eps: number;
  /** Decoupled, on every trained tensor. */
  readonly weightDecay: number;
  /** Gradients whose global norm is above are scaled down to it; 0: never. */
  readonly gradClip: number;
}

/** What a step found out. */
export interface StepOutcome {
  readonly loss: number;
  /** Before clipping. */
  readonly gradNorm: number;
  /** The loss or the norm of this or an earlier step was not finite: nothing has been updated since. */
  readonly halted: boolean;
}

/**
 * AdamW and what it needs of a step, all on the GPU: the step's loss, the global norm of the gradients, clipping, the
 * update. Once a loss or a norm is not finite, this and all later updates are skipped, so that nothing that is no
 * number reaches the parameters although the host learns of it a step late.
 */
export class AdamW {
  readonly #gpu: Gpu;
  readonly #parameters: Parameters;
  readonly #settings: AdamWSettings;
  readonly #state: GpuBuffer;

  constructor(gpu: Gpu, parameters: Parameters, settings: AdamWSettings) {
    this.#gpu = gpu;
    this.#parameters = parameters;
    this.#settings = settings;
    this.#state = gpu.memory.allocate("step.state", STEP_STATE_BYTES);
    const stream = new Stream(gpu);
    stream.clear(this.#state);
    stream.submit();
  }

  /**
   * Records the step's loss: + weight · Σ losses.
   * @param losses (tokens, 1)
   * @param first whether this is the step's first micro-batch
   */
  addLoss(run: Run, losses: Tensor, weight: number, first: boolean): void {
    const sums = tensorIn(this.#state, [1, STEP_STATE_BYTES / 4], "F32");
    addLosses(run, losses, weight, sums, STEP_STATE.loss, first);
  }

  /** Records the update from the gradients, which are zero afterwards. `step` counts from 1. */
  update(run: Run, step: number, learningRate: number): void {
    const { betas, eps, weightDecay, gradClip } = this.#settings;
    const [beta1, beta2] = betas;
    this.#norm(run, gradClip);
    // In f64, as Python computes them; rounded to f32 where they meet the tensors.
    const scalars = {
      keep: 1 - learningRate * weightDecay,
      meanWeight: 1 - beta1,
      squareKeep: beta2,
      squareWeight: 1 - beta2,
      correction: Math.sqrt(1 - beta2 ** step),
      epsilon: eps,
      stepSize: learningRate / (1 - beta1 ** step),
    };
    for (const chunk of this.#parameters.chunks) {
      for (const { first, size } of this.#ranges(chunk)) {
        const range = (of: GpuBuffer) => ({ of, offset: first * 4, size: size * 4 });
        const bindings = [chunk.value, chunk.gradient, chunk.mean, chunk.square].map(range);
        const [x, y] = this.#grid(size / 4 / ADAMW_THREADS);
        const parameters = adamwParameters({ vectors: size / 4, perRow: x, ...scalars });
        run.dispatch(ADAMW_KERNEL, parameters, [...bindings, this.#state], [x, y]);
      }
    }
  }

  /** Reads what the last submitted step found out; what is recorded later may be submitted meanwhile. */
  async read(): Promise<StepOutcome> {
    const range = { buffer: this.#state, offset: 0, size: STEP_STATE_BYTES };
    return readWith(this.#gpu, [range], async ([bytes]) => {
      const words = new DataView(bytes?.slice().buffer ?? new ArrayBuffer(STEP_STATE_BYTES));
      return {
        loss: words.getFloat32(STEP_STATE.loss * 4, true),
        gradNorm: words.getFloat32(STEP_STATE.norm * 4, true),
        halted: words.getUint32(STEP_STATE.halted * 4, true) !== 0,
      };
    });
  }

  release(): void {
    this.#gpu.memory.release(this.#state);
  }

  #norm(run: Run, clip: number): void {
    const part = squaresPart(run.staging);
    const ranges = this.#parameters.chunks.flatMap((chunk) => this.#ranges(chunk));
    const total = ranges.reduce((sum, { size }) => sum + Math.ceil(size / 4 / part), 0);
    const partial = run.allocate("norm.partial", [1, total]);
    let first = 0;
    for (const { chunk, first: begin, size } of ranges) {
      const parts = Math.ceil(size / 4 / part);
      const [x, y] = this.#grid(parts);
      const gradient = { of: chunk.gradient, offset: begin * 4, size: size * 4 };
      const parameters = squaresParameters({ vectors: size / 4, perRow: x, first });
      run.dispatch(squaresKernel(run.staging), parameters, [gradient, whole(run, partial)], [x, y]);
      first += parts;
    }
    const parameters = normParameters({ count: total, clip });
    run.dispatch(normKernel(run.staging), parameters, [whole(run, partial), this.#state], [1]);
    run.release(partial);
  }

  /** A chunk in pieces that can be bound. */
  #ranges(chunk: Chunk): { chunk: Chunk; first: number; size: number }[] {
    const most = Math.floor(this.#gpu.limits.maxStorageBufferBindingSize / 256) * 64;
    const ranges = [];
    for (let first = 0; first < chunk.size; first += most) {
      ranges.push({ chunk, first, size: Math.min(most, chunk.size - first) });
    }
    return ranges;
  }

  /** At least `count` workgroups, in as many rows as one axis cannot hold. */
  #grid(count: number): [number, number] {
    const x = Math.min(Math.ceil(count), this.#gpu.limits.maxComputeWorkgroupsPerDimension);
    return [x, Math.ceil(Math.ceil(count) / x)];
  }
}

/** Records sums[slot] += weight · Σ losses (or = when `first`); losses: (tokens, 1), sums: one row. */
export function addLosses(run: Run, losses: Tensor, weight: number, sums: Tensor, slot: number, first: boolean): void {
  const parameters = lossSumParameters({
    count: losses.shape[0],
    at: losses.offset,
    pitch: losses.pitch,
    weight,
    isFirst: first,
    slot,
  });
  run.dispatch(lossSumKernel(run.staging), parameters, [whole(run, losses), whole(run, sums)], [1]);
}
