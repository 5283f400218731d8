import type { Device, DeviceBuffer } from "../../../compute/device/device.ts";
import { recordZero } from "../../../compute/tensor/fill.ts";
import type { Run } from "../../../compute/tensor/run.ts";
import type { Tensor } from "../../../compute/tensor/tensor.ts";
import { itemAt } from "../../../files/item-at.ts";
import type { Addend, Placement } from "../../method/training.ts";
import { weightFinder } from "../parts.ts";
import { type ExpertAddend, type FactoredLayer, lowRankMethod, type LowRankMode } from "./linears.ts";
import { allocateStacks, type FactorShape, factorsOf, type FactorStack, Transposition } from "./stacks.ts";

/** A module whose factors are worked out of what is trained. */
export interface DerivedLayer extends FactoredLayer {
  /** W is (out, in). */
  readonly out: number;
  readonly in: number;
  readonly rank: number;
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
  readonly #layers: readonly DerivedLayer[];
  readonly #bGradient: readonly FactorStack[];
  readonly #transposition: Transposition;
  readonly #factors: readonly { readonly a: Pair; readonly b: Pair; readonly bt: Tensor }[];

  /**
   * @param layers of experts those of the same matrix of each, in their order, one after the other
   * @param factor multiplies B·A beside the layers' scale
   * @throws RandloraError `memory`
   */
  constructor(gpu: Device, layers: readonly DerivedLayer[], factor: number) {
    const stacks = (label: string, shape: (layer: DerivedLayer) => FactorShape) =>
      allocateStacks(gpu, label, layers.map(shape));
    this.#layers = layers.map((layer) => ({ ...layer, scale: layer.scale * factor }));
    this.a = stacks("factors A", ({ rank, in: input }) => ({ rows: rank, cols: input }));
    this.aGradient = stacks("gradients of A", ({ rank, in: input }) => ({ rows: rank, cols: input }));
    this.bt = stacks("factors B, turned", ({ rank, out }) => ({ rows: rank, cols: out }));
    const b = stacks("factors B", ({ rank, out }) => ({ rows: out, cols: rank }));
    this.#bGradient = stacks("gradients of B", ({ rank, out }) => ({ rows: out, cols: rank }));
    gpu.clear([...this.aGradient, ...this.#bGradient].map(({ tensor }) => tensor.buffer));
    this.#transposition = new Transposition(gpu, Math.max(...layers.map(({ rank }) => rank)));
    const [a, aGradient, bt] = [factorsOf(this.a), factorsOf(this.aGradient), factorsOf(this.bt)];
    const [values, gradients] = [factorsOf(b), factorsOf(this.#bGradient)];
    this.#factors = layers.map((_, index) => ({
      a: { value: itemAt(a, index), gradient: itemAt(aGradient, index) },
      b: { value: itemAt(values, index), gradient: itemAt(gradients, index) },
      bt: itemAt(bt, index),
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

  /**
   * A method with these factors, but for its choices and what it saves.
   * @param map `form` records A and Bᵀ, all of both; `fold` what follows from ∂loss/∂A and ∂loss/∂Bᵀ
   */
  method(
    weights: Placement["tensors"],
    mode: LowRankMode,
    { form, fold }: { readonly form: (run: Run) => void; readonly fold: (run: Run) => void },
  ): Addend {
    const factors = this.#factors.map(({ a, b }) => ({ a: a.value, b: b.value }));
    const { watched, addends } = this.#joined(weights);
    return {
      ...lowRankMethod(weights, this.#layers, factors, mode, addends),
      prepare: (run) => {
        form(run);
        for (const { b, bt } of this.#factors) this.#transposition.narrow(run, bt, b.value);
      },
      watched: () => watched,
      finish: (run) => {
        for (const { b, bt } of this.#factors) this.#transposition.wide(run, b.gradient, bt);
        fold(run);
        for (const { tensor } of [...this.aGradient, ...this.#bGradient]) recordZero(run, tensor);
      },
    };
  }

  /** Factors as a tape watches them: those of a matrix of each expert, which follow each other, are one. */
  #joined(weights: Placement["tensors"]) {
    const find = weightFinder(weights);
    const watched: Pair[] = [];
    const addends = new Map<DeviceBuffer, ExpertAddend[]>();
    for (let at = 0; at < this.#layers.length;) {
      const { tensor, scale, out: columns } = itemAt(this.#layers, at);
      const { weight, experts = 1, column: firstColumn } = find(tensor);
      const [a, b] = [itemAt(this.#factors, at).a, itemAt(this.#factors, at).b].map((pair): Pair => {
        return { value: rowsOfEach(pair.value, experts), gradient: rowsOfEach(pair.gradient, experts) };
      });
      if (a === undefined || b === undefined) throw new RangeError(tensor);
      watched.push(a, b);
      if (experts > 1) {
        const own = addends.get(weight.buffer) ?? [];
        addends.set(weight.buffer, own);
        own.push({ a: a.value, b: b.value, scale, firstColumn, columns });
      }
      at += experts;
    }
    return { watched, addends };
  }
}

/** Factors of so many modules, one below the other. */
function rowsOfEach(factor: Tensor, modules: number): Tensor {
  return { ...factor, shape: [factor.shape[0] * modules, factor.shape[1]] };
}

interface Pair {
  readonly value: Tensor;
  readonly gradient: Tensor;
}
