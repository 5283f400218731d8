import type { Device, DeviceBuffer } from "../../../compute/device/device.ts";
import { recordZero } from "../../../compute/tensor/fill.ts";
import type { Run } from "../../../compute/tensor/run.ts";
import { type Tensor, pitchOf, tensorIn } from "../../../compute/tensor/tensor.ts";
import { itemAt } from "../../../files/item-at.ts";
import type { Addend, Placement } from "../../method/training.ts";
import { weightFinder } from "../parts.ts";
import { type ExpertAddend, type FactoredLayer, lowRankMethod, type LowRankMode } from "./linears.ts";
import { uploaded } from "../../../compute/device/transfer.ts";
import { recordGemm } from "../../../compute/tensor/gemm.ts";

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
interface FactorShape {
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
