import type { Device } from "../../../compute/device/device.ts";
import { recordCopy } from "../../../compute/tensor/elementwise.ts";
import { OPS } from "../../../compute/tensor/ops/index.ts";
import { Run } from "../../../compute/tensor/run.ts";
import { type Tensor, tensorBytes, tensorIn } from "../../../compute/tensor/tensor.ts";

/** Shares of the three corners in a point's weights; their sum is 1. */
export type Shares = readonly [a: number, b: number, c: number];

/** The three corners in the plane's coordinates, as the authors' loss_barrier.py has them. */
export const CORNERS = [
  [0, 0],
  [0.5, 1],
  [1, 0],
] as const;

/** The shares at a place of the plane. */
export function sharesAt(x: number, y: number): Shares {
  return [1 - x - y / 2, y, x - y / 2];
}

/** Places along one axis: from + i · (to − from) / count, the end left out, as numpy's arange. */
export function placesOf([from, to]: readonly [number, number], count: number): number[] {
  return Array.from({ length: count }, (_, i) => from + (i * (to - from)) / count);
}

export interface LossOptions {
  /** Told the tokens, or the images, of each pass. */
  readonly onItems?: (items: number) => void;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The mean loss of a model whose weights lie in the plane of three variants: W0 + aΔA + bΔB + cΔC. Because a + b + c is 1
 * that is aW_A + bW_B + cW_C, so what the corners have different is held three times in F32, and a point needs nothing
 * of the base.
 */
export interface Plane extends Disposable {
  /**
   * In nats; may overflow far from the corners.
   * @throws RandloraError `gpu`, `memory`; the signal's reason when it is aborted
   */
  loss(shares: Shares, options?: LossOptions): Promise<number>;
}

/** What three models of one shape have different, copied in F32. Matrices are known by their places in a list of all. */
export class Mixture implements Disposable {
  readonly #gpu: Device;
  /** By corner, by place. */
  readonly #kept: (readonly (Tensor | undefined)[])[] = [];
  readonly #owned: Tensor[] = [];

  constructor(gpu: Device) {
    this.#gpu = gpu;
  }

  /**
   * Copies a corner's matrices, those that stand twice in the list once.
   * @param isMixed by place: may the corners differ in it?
   * @throws RandloraError `memory`, `gpu`
   */
  async add(matrices: readonly Tensor[], isMixed: readonly boolean[]): Promise<void> {
    const copies = new Map<Tensor, Tensor>();
    using run = new Run(this.#gpu);
    const kept = matrices.map((matrix, at) => {
      if (isMixed[at] !== true) return undefined;
      const known = copies.get(matrix);
      if (known !== undefined) return known;
      const { shape } = matrix;
      const copy = tensorIn(this.#gpu.memory.allocate("corner", tensorBytes(shape, "F32")), shape, "F32");
      this.#owned.push(copy);
      copies.set(matrix, copy);
      recordCopy(run, matrix, copy);
      return copy;
    });
    await run.submit();
    this.#kept.push(kept);
  }

  /** Has a corner different matrices at these places? */
  separates(one: number, other: number): boolean {
    return this.#kept.some((corner) => corner[one] !== corner[other]);
  }

  /** Records a·A + b·B + c·C into the matrices of a model that hold F32 where corners may differ. */
  mix(run: Run, matrices: readonly Tensor[], shares: Shares): void {
    const done = new Set<Tensor>();
    for (const [at, y] of matrices.entries()) {
      const [a, b, c] = this.#kept.map((corner) => corner[at]);
      if (a === undefined || b === undefined || c === undefined || done.has(y)) continue;
      done.add(y);
      const cols = y.shape[1];
      const [ofA, ofB, ofC] = shares.map((share) => run.upload("share", [1, cols], new Float32Array(cols).fill(share)));
      if (ofA === undefined || ofB === undefined || ofC === undefined) continue;
      const first = run.apply(OPS.scaleColumns, { x: a, scale: ofA, bias: undefined, residual: undefined }, {}).y;
      const second = run.apply(OPS.scaleColumns, { x: b, scale: ofB, bias: undefined, residual: first }, {}).y;
      run.release(first);
      run.apply(OPS.scaleColumns, { x: c, scale: ofC, bias: undefined, residual: second }, {}, { y });
      run.release(second, ofA, ofB, ofC);
    }
  }

  [Symbol.dispose](): void {
    for (const { buffer } of this.#owned.splice(0)) this.#gpu.memory.release(buffer);
  }
}
