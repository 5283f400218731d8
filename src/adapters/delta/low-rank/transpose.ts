import type { Device } from "../../../compute/device/device.ts";
import { uploaded } from "../../../compute/device/transfer.ts";
import { recordGemm } from "../../../compute/tensor/gemm.ts";
import type { Run } from "../../../compute/tensor/run.ts";
import { pitchOf, type Tensor, tensorIn } from "../../../compute/tensor/tensor.ts";

/**
 * Turns narrow matrices by a product with the identity: multiplying by one and adding zeros is exact, and such a product
 * takes whatever the GPU cannot bind at once in blocks.
 */
export class Transposition {
  readonly #identity: Tensor;

  /** @param width the largest number of columns of the narrow matrices. @throws RandloraError `memory` */
  constructor(gpu: Device, width: number) {
    const pitch = pitchOf(width, "F32");
    const values = new Float32Array(width * pitch);
    for (let k = 0; k < width; k++) values[k * pitch + k] = 1;
    this.#identity = tensorIn(uploaded(gpu, "identity", values), [width, width], "F32");
  }

  /** Records narrow (n, k) = wideᵀ; wide (k, n), both F32. */
  narrow(run: Run, wide: Tensor, narrow: Tensor): void {
    recordGemm(run, { order: "TN", a: wide, b: this.#corner(wide.shape[0]), y: narrow });
  }

  /** Records wide (k, n) = narrowᵀ; narrow (n, k), both F32. */
  wide(run: Run, narrow: Tensor, wide: Tensor): void {
    recordGemm(run, { order: "NT", a: this.#corner(wide.shape[0]), b: narrow, y: wide });
  }

  /** What is beyond its columns is zero in its rows, as it is in a matrix of its own. */
  #corner(width: number): Tensor {
    return { ...this.#identity, shape: [width, width] };
  }
}
