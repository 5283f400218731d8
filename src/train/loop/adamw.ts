import type { Device, DeviceBuffer } from "../../compute/device/device.ts";
import { STEP_STATE, STEP_STATE_BYTES } from "../../compute/device/families/optimizer.ts";
import { type Run } from "../../compute/tensor/run.ts";
import { type Tensor, tensorIn } from "../../compute/tensor/tensor.ts";
import type { Parameters } from "../../adapters/method/parameters.ts";

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
 * number reaches the parameters although the host hears of it a step late.
 */
export class AdamW {
  readonly #gpu: Device;
  readonly #parameters: Parameters;
  readonly #settings: AdamWSettings;
  readonly #state: DeviceBuffer;

  constructor(gpu: Device, parameters: Parameters, settings: AdamWSettings) {
    this.#gpu = gpu;
    this.#parameters = parameters;
    this.#settings = settings;
    this.#state = gpu.memory.allocate("step.state", STEP_STATE_BYTES);
    gpu.clear([this.#state]);
  }

  /**
   * Where the step's loss is summed up, in its first number: weight · Σ losses of each micro-batch.
   */
  get loss(): Tensor {
    return tensorIn(this.#state, [1, STEP_STATE_BYTES / 4], "F32");
  }

  /** Makes the step's loss what the first number of a buffer is. */
  takeLoss({ buffer: from }: Tensor): void {
    this.#gpu.copy([{ from, to: this.#state, toOffset: STEP_STATE.loss * 4, size: 4 }]);
  }

  /** Records the update from the gradients, which are zero afterwards. `step` counts from 1. @param headRate the learning rate of heads */
  update(run: Run, step: number, learningRate: number, headRate = learningRate): void {
    const { betas, eps, weightDecay, gradClip } = this.#settings;
    const [beta1, beta2] = betas;
    const gradients = this.#parameters.chunks.map(({ gradient: buffer, size }) => ({ buffer, size }));
    run.compute("gradientNorm", { gradients, clip: gradClip, state: this.#state });
    // In f64, as Python computes them; rounded to f32 where they meet the tensors.
    const scalars = (rate: number) => ({
      keep: 1 - rate * weightDecay,
      meanWeight: 1 - beta1,
      squareKeep: beta2,
      squareWeight: 1 - beta2,
      correction: Math.sqrt(1 - beta2 ** step),
      epsilon: eps,
      stepSize: rate / (1 - beta1 ** step),
    });
    const state = this.#state;
    for (const { isHead, rate, ...chunk } of this.#parameters.chunks) {
      run.compute("adamw", { ...chunk, ...scalars((isHead ? headRate : learningRate) * rate), state });
    }
  }

  /** Reads what the last submitted step found out; what is recorded later may be submitted meanwhile. */
  async read(): Promise<StepOutcome> {
    const range = { buffer: this.#state, offset: 0, size: STEP_STATE_BYTES };
    return this.#gpu.readWith([range], async ([bytes]) => {
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
}

/** Records sums[slot] += weight · Σ losses (or = when `first`); losses: (tokens, 1), sums: one row. */
export function addLosses(run: Run, losses: Tensor, weight: number, sums: Tensor, slot: number, first: boolean): void {
  run.compute("lossSum", { losses, weight, sums, slot, first });
}
