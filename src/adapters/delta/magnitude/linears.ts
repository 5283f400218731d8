import type { DeviceBuffer } from "../../../compute/device/device.ts";
import type { Linears, Projection } from "../../../models/blocks/linears.ts";
import { OPS } from "../../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../../compute/tensor/recorder.ts";
import { sliceCols, type Tensor } from "../../../compute/tensor/tensor.ts";

/** What the outputs of a matrix are multiplied by. */
export interface OutputFactors {
  /** Rows of the matrix. */
  readonly rows: number;
  /** c (1, out): 1 for the rows of modules that are not adapted. */
  readonly factors: Tensor;
}

/**
 * The decoder's projections with rescaled outputs: y = c ⊙ z + bias + residual, where z = x (W + ΔW)ᵀ is what another
 * method computes. With dropout z is x Wᵀ + drop(x) ΔWᵀ: PEFT drops the input of c − 1 times the frozen product as well
 * (lora/variants.py), which adds noise and has no other mean.
 */
export class MagnitudeLinears implements Linears {
  readonly #inner: Linears;
  readonly #matrices: ReadonlyMap<DeviceBuffer, OutputFactors>;

  constructor(inner: Linears, matrices: ReadonlyMap<DeviceBuffer, OutputFactors>) {
    this.#inner = inner;
    this.#matrices = matrices;
  }

  apply(recorder: Recorder, inputs: Projection): Tensor {
    const matrix = this.#matrices.get(inputs.weight.buffer);
    if (matrix === undefined) return this.#inner.apply(recorder, inputs);
    const { x, weight, bias, residual } = inputs;
    const z = this.#inner.apply(recorder, { x, weight, bias: undefined, residual: undefined });
    const [out] = weight.shape;
    const scale = out === matrix.rows ? matrix.factors : sliceCols(matrix.factors, weight.offset / weight.pitch, out);
    const { y } = recorder.apply(OPS.scaleColumns, { x: z, scale, bias, residual }, {});
    recorder.release(z);
    return y;
  }
}
