import type { Device, DeviceBuffer } from "../../../compute/device/device.ts";
import { recordZero } from "../../../compute/tensor/fill.ts";
import type { Run } from "../../../compute/tensor/run.ts";
import { recordGemm } from "../../../compute/tensor/gemm.ts";
import { sliceRows, type Tensor } from "../../../compute/tensor/tensor.ts";
import type { Linears } from "../../../models/blocks/linears.ts";
import type { Part } from "../parts.ts";
import { LowRankLinears, type LowRankMode, type TrainedFactors } from "./linears.ts";
import { allocateStacks, factorsOf, type FactorShape, type FactorStack } from "./stacks.ts";
import { Transposition } from "./transpose.ts";

/** A module whose factors are worked out of what is trained. */
export interface DerivedModule {
  /** Its dotted path in the checkpoint. */
  readonly module: string;
  /** W is (out, in). */
  readonly out: number;
  readonly in: number;
  readonly rank: number;
  /** Of B·A. */
  readonly scale: number;
}

/**
 * Factors A (rank, in) and B (out, rank) under training that are functions of fewer numbers: `prepare` forms them once
 * parameters have changed, layers use them as LoRA's, a tape adds up their gradients over the micro-batches of a step,
 * and `finish` takes those back to the parameters. B is formed, and its gradient taken back, as Bᵀ (rank, out): in rows
 * along the layer's dimension, as A is.
 */
export class DerivedFactors {
  /** A by shape. */
  readonly a: readonly FactorStack[];
  /** ∂loss/∂A, stacked alike: complete in `finish`. */
  readonly aGradient: readonly FactorStack[];
  /** Bᵀ by shape in `prepare`, ∂loss/∂Bᵀ in `finish`: in between nobody needs it. */
  readonly bt: readonly FactorStack[];
  readonly #modules: readonly DerivedModule[];
  readonly #bGradient: readonly FactorStack[];
  readonly #transposition: Transposition;
  readonly #factors: readonly { readonly a: Pair; readonly b: Pair; readonly bt: Tensor }[];

  /** @throws RandloraError `memory` */
  constructor(gpu: Device, modules: readonly DerivedModule[]) {
    const stacks = (label: string, shape: (module: DerivedModule) => FactorShape) =>
      allocateStacks(gpu, label, modules.map(shape));
    this.#modules = modules;
    this.a = stacks("factors A", ({ rank, in: input }) => ({ rows: rank, cols: input }));
    this.aGradient = stacks("gradients of A", ({ rank, in: input }) => ({ rows: rank, cols: input }));
    this.bt = stacks("factors B, turned", ({ rank, out }) => ({ rows: rank, cols: out }));
    const b = stacks("factors B", ({ rank, out }) => ({ rows: out, cols: rank }));
    this.#bGradient = stacks("gradients of B", ({ rank, out }) => ({ rows: out, cols: rank }));
    this.#transposition = new Transposition(gpu, Math.max(...modules.map(({ rank }) => rank)));
    const [a, aGradient, bt] = [factorsOf(this.a), factorsOf(this.aGradient), factorsOf(this.bt)];
    const [values, gradients] = [factorsOf(b), factorsOf(this.#bGradient)];
    this.#factors = modules.map((_, index) => ({
      a: pairOf(a[index], aGradient[index]),
      b: pairOf(values[index], gradients[index]),
      bt: pairOf(bt[index], bt[index]).value,
    }));
  }

  /** A and Bᵀ of each module, where they are formed. */
  get formed(): { readonly a: Tensor; readonly bt: Tensor }[] {
    return this.#factors.map(({ a, bt }) => ({ a: a.value, bt }));
  }

  /** Their gradients, where they are complete in `finish`. */
  get gradients(): { readonly a: Tensor; readonly bt: Tensor }[] {
    return this.#factors.map(({ a, bt }) => ({ a: a.gradient, bt }));
  }

  /** Records a new start. @param form records A and Bᵀ, all of both */
  prepare(run: Run, form: () => void): void {
    form();
    for (const { b, bt } of this.#factors) this.#transposition.narrow(run, bt, b.value);
    for (const { tensor } of [...this.aGradient, ...this.#bGradient]) recordZero(run, tensor);
  }

  /** Records the end of a step. @param fold records what follows from ∂loss/∂A and ∂loss/∂Bᵀ */
  finish(run: Run, fold: () => void): void {
    for (const { b, bt } of this.#factors) this.#transposition.wide(run, b.gradient, bt);
    fold();
  }

  /** Records rows of ΔW of a module, from row `first` on, into an F32 matrix (rows, in): as `prepare` has formed it. */
  recordDelta(run: Run, index: number, first: number, target: Tensor): void {
    const { a, b } = this.#factors[index] ?? {};
    if (a === undefined || b === undefined) throw new RangeError(`module ${index}`);
    const rows = sliceRows(b.value, first, target.shape[0]);
    recordGemm(run, { order: "NN", a: rows, b: a.value, y: target, scale: this.#modules[index]?.scale });
  }

  /** The tensors whose gradients a tape adds up. */
  watched(): readonly Pair[] {
    return this.#factors.flatMap(({ a, b }) => [a, b]);
  }

  /** The decoder's projections, or those of `base`, with the factors beside their modules. */
  linears(matrices: ReadonlyMap<DeviceBuffer, readonly Part[]>, mode: LowRankMode, base?: Linears): Linears {
    const factors = new Map<string, TrainedFactors>();
    for (const [index, { a, b }] of this.#factors.entries()) {
      const { module = "", scale = NaN } = this.#modules[index] ?? {};
      factors.set(module, { a: a.value, b: b.value, scale, index });
    }
    return new LowRankLinears(matrices, factors, mode, base);
  }
}

interface Pair {
  readonly value: Tensor;
  readonly gradient: Tensor;
}

function pairOf(value: Tensor | undefined, gradient: Tensor | undefined): Pair {
  if (value === undefined || gradient === undefined) throw new RangeError("a module without factors");
  return { value, gradient };
}
