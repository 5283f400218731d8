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

/** The sizes of a factor. */
export interface FactorShape {
  readonly rows: number;
  readonly cols: number;
}

/** Factors of one shape, one after another in memory: what is drawn for one of them serves all of them. */
export interface FactorStack extends FactorShape {
  /** Whose they are, in the order in which they lie: indices among the shapes that were stacked. */
  readonly modules: readonly number[];
  /** (modules, rows · pitch) F32: each row is a factor, whose own rows are padded to whole vectors. */
  readonly tensor: Tensor;
}

/** Groups factors by shape, in the order in which shapes appear first. */
export function groupFactors(shapes: readonly FactorShape[]): (FactorShape & { readonly modules: number[] })[] {
  const groups = new Map<string, FactorShape & { readonly modules: number[] }>();
  for (const [index, { rows, cols }] of shapes.entries()) {
    const key = `${rows}×${cols}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { rows, cols, modules: [index] });
    else group.modules.push(index);
  }
  return [...groups.values()];
}

/** Allocates stacks for factors of these shapes; their content is undefined. @throws RandloraError `memory` */
export function allocateStacks(gpu: Device, label: string, shapes: readonly FactorShape[]): FactorStack[] {
  return groupFactors(shapes).map(({ rows, cols, modules }) => {
    const width = rows * pitchOf(cols, "F32");
    const buffer = gpu.memory.allocate(`${label} (${rows}, ${cols})`, modules.length * width * 4);
    const tensor = { shape: [modules.length, width], dtype: "F32", buffer, offset: 0, pitch: width } as const;
    return { rows, cols, modules, tensor };
  });
}

/** The factors (rows, cols) of stacks by module. */
export function factorsOf(stacks: readonly FactorStack[]): Tensor[] {
  const factors: Tensor[] = [];
  for (const { rows, cols, modules, tensor } of stacks) {
    for (const [at, module] of modules.entries()) {
      const pitch = pitchOf(cols, "F32");
      factors[module] = { ...tensor, shape: [rows, cols], offset: tensor.offset + at * tensor.pitch, pitch };
    }
  }
  return factors;
}

/** Row `row`, columns `first` … `first + width − 1`, of `count` factors from number `at` on: a matrix (count, width). */
export function rowAcross(
  { cols, tensor }: FactorStack,
  { at, count }: { readonly at: number; readonly count: number },
  { row, first, width }: { readonly row: number; readonly first: number; readonly width: number },
): Tensor {
  const offset = tensor.offset + at * tensor.pitch + row * pitchOf(cols, "F32") + first;
  return { ...tensor, shape: [count, width], offset };
}
