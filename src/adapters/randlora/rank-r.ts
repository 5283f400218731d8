import type { Device, DeviceBuffer } from "../../compute/device/device.ts";
import { readElement } from "../../compute/device/matrix-storage.ts";
import { uploaded } from "../../compute/device/transfer.ts";
import { recordGemm } from "../../compute/tensor/gemm.ts";
import type { Run } from "../../compute/tensor/run.ts";
import { recordStridedSums } from "../../compute/tensor/strided-sums.ts";
import { type Tensor, tensorIn } from "../../compute/tensor/tensor.ts";
import { itemAt } from "../../files/item-at.ts";
import { DerivedFactors, Transposition } from "../delta/low-rank/derived.ts";
import { derivedDeltas } from "../delta/low-rank/product.ts";
import type { BilinearLayer, BilinearPlan } from "../delta/scaled-bases/delta.ts";
import type { BilinearShape } from "../delta/scaled-bases/shape.ts";
import type { BilinearAdapter } from "../delta/scaled-bases/place.ts";
import { TrainingBases } from "../delta/scaled-bases/training-bases.ts";
import { readAllValues } from "../files/tensors.ts";
import type { Bases } from "../frozen/drawing/bases.ts";
import type { DeltaSource } from "../method/plan.ts";
import { writeTrained } from "../method/train.ts";
import type { Addend, Placement } from "../method/training.ts";

/** λ (r, n) and γ (n, m), or their gradients: F32. */
export interface RankRParameters {
  readonly lambda: Tensor;
  readonly gamma: Tensor;
}

/** B' turned (r, M) and A' (r, m) of a module, or their gradients: F32, their padding zero. */
export interface RankRFactors {
  readonly long: Tensor;
  readonly short: Tensor;
}

/**
 * The factors of ΔW = s·(Σⱼ BⱼΛⱼ)(Σⱼ AⱼΓⱼ) (arXiv:2502.00987, table 3, RandLoRA-a) from λ and γ, and back:
 * B'[i, k] = Σⱼ Bⱼ[i, k]·λ[k, j] and A'[k, c] = Σⱼ Aⱼ[k, c]·γ[j, c]. One matrix holds the rows of all Bⱼ and, from row
 * `firstA` on, those of all Aⱼᵀ; its column j·r + k is column k of base j.
 */
class RankRBases {
  readonly #bases: TrainingBases;
  readonly #firstA: number;
  readonly #panel: DeviceBuffer | undefined;
  readonly #one: Tensor;

  /** @param shapes those of the modules: scratch is large enough for all. @throws RandloraError `memory` */
  constructor(gpu: Device, bases: TrainingBases, firstA: number, shapes: readonly BilinearShape[]) {
    this.#bases = bases;
    this.#firstA = firstA;
    const panel = Math.max(...shapes.map((shape) => bases.panelBytes(shape)));
    this.#panel = panel === 0 ? undefined : gpu.memory.allocate("adapter scratch: panel", panel);
    this.#one = tensorIn(uploaded(gpu, "one", Float32Array.of(1, 0, 0, 0)), [1, 1], "F32");
  }

  /** Records the factors of a module. */
  form(run: Run, shape: BilinearShape, { lambda, gamma }: RankRParameters, { long, short }: RankRFactors): void {
    const { r, bases: terms } = shape;
    const scale = this.#bases.unit;
    for (const { first, tensor } of this.#rows(run, shape, "b")) {
      const x = { of: tensor, steps: { row: 1, col: tensor.pitch, term: r } };
      const w = { of: lambda, steps: { row: lambda.pitch, col: 0, term: 1 } };
      recordStridedSums(run, { x, w, y: columns(long, first, tensor), terms, scale });
    }
    for (const { first, tensor } of this.#rows(run, shape, "a")) {
      const x = { of: tensor, steps: { row: 1, col: tensor.pitch, term: r } };
      const w = { of: columns(gamma, first, tensor), steps: { row: 0, col: 1, term: gamma.pitch } };
      recordStridedSums(run, { x, w, y: columns(short, first, tensor), terms, scale });
    }
  }

  /** Records what the gradients of λ and γ get: dλ[k, j] += Σᵢ dB'[i, k]·Bⱼ[i, k], dγ[j, c] += Σₖ dA'[k, c]·Aⱼ[k, c]. */
  fold(run: Run, shape: BilinearShape, { long, short }: RankRFactors, { lambda, gamma }: RankRParameters): void {
    const { r, terms } = shape;
    const scale = this.#bases.unit;
    // Of this product one element in r is wanted; all of it is a fraction of the layer's own products.
    const all = run.allocate("gradients of λ", [r, terms]);
    for (const { first, tensor } of this.#rows(run, shape, "b")) {
      recordGemm(run, { order: "NN", a: columns(long, first, tensor), b: tensor, y: all, accumulate: first > 0 });
    }
    recordStridedSums(run, {
      x: { of: all, steps: { row: all.pitch + 1, col: r, term: 0 } },
      w: { of: this.#one, steps: { row: 0, col: 0, term: 0 } },
      y: lambda,
      terms: 1,
      scale,
      accumulate: true,
    });
    run.release(all);
    for (const { first, tensor } of this.#rows(run, shape, "a")) {
      const x = { of: tensor, steps: { row: r, col: tensor.pitch, term: 1 } };
      const w = { of: columns(short, first, tensor), steps: { row: 0, col: 1, term: short.pitch } };
      recordStridedSums(run, { x, w, y: columns(gamma, first, tensor), terms: r, scale, accumulate: true });
    }
  }

  /** The rows of all Bⱼ, or of all Aⱼᵀ, that a module has, in blocks. */
  #rows(run: Run, shape: BilinearShape, which: "a" | "b") {
    const [rows, from] = which === "b" ? [shape.rows, 0] : [shape.cols, this.#firstA];
    return this.#bases.rows(run, { ...shape, rows }, this.#panel, from);
  }
}

/** The columns that belong to a block of rows of the bases. */
function columns(tensor: Tensor, first: number, block: Tensor): Tensor {
  return { ...tensor, shape: [tensor.shape[0], block.shape[0]], offset: tensor.offset + first };
}

/** ΔW of RandLoRA-a: products of two factors, each worked out when it is needed. @param firstA see {@link RankRBases} */
export function rankRDeltas({ adapter, layers, scale }: BilinearPlan, bases: Bases, firstA: number): DeltaSource {
  return derivedDeltas(layers.map(withRank(scale)), {
    async share(gpu) {
      const training = await TrainingBases.create(gpu, bases, "paper");
      const shared = new RankRBases(gpu, training, firstA, shapesOf(layers));
      const transposition = new Transposition(gpu, bases.r);
      return async (run, { sizes, tensors }, { a, b }) => {
        const { r, bases: n, cols, out, tall } = sizes;
        const { lambda, gamma } = await readAllValues(adapter, tensors);
        const parameters = { lambda: run.upload("λ", [r, n], lambda), gamma: run.upload("γ", [n, cols], gamma) };
        const turned = run.allocate("factor B, turned", [r, out]);
        shared.form(run, sizes, parameters, tall ? { long: turned, short: a } : { long: a, short: turned });
        transposition.narrow(run, turned, b);
      };
    },
    async reference({ sizes: { r, bases: n, tall, cols: m }, tensors }, { rows, cols }) {
      const { lambda, gamma } = await readAllValues(adapter, tensors);
      const sum = (row: number, k: number, weight: (j: number) => number) => {
        let total = 0;
        for (let j = 0; j < n; j++) total += readElement(bases.b, row, j * r + k) * weight(j);
        return total;
      };
      const ranks = Array.from({ length: r }, (_, k) => k);
      const long = (i: number) => ranks.map((k) => sum(i, k, (j) => itemAt(lambda, k * n + j)));
      const short = (c: number) => ranks.map((k) => sum(firstA + c, k, (j) => itemAt(gamma, j * m + c)));
      return { b: rows.map(tall ? long : short), a: cols.map(tall ? short : long) };
    },
  });
}

/**
 * Writes the initial λ and γ, uploads the bases, and trains both factors of each module through them: a method but for
 * what it saves. @param firstA see {@link RankRBases}
 * @throws RandloraError `memory`
 */
export async function placeRankR(
  on: Placement,
  { adapter, layers, scale, bases, basesFrom }: BilinearAdapter,
  firstA: number,
  mode: { readonly dropout: number; readonly seed: number },
): Promise<Addend> {
  const { gpu, parameters, tensors: weights, factor = 1 } = on;
  const training = await TrainingBases.shared(on, bases, "paper");
  const shared = new RankRBases(gpu, training, firstA, shapesOf(layers));
  const factors = new DerivedFactors(gpu, layers.map(withRank(scale)), factor);
  await writeTrained(parameters, adapter, layers);
  const trained = layers.map(({ sizes, tensors }, index) => {
    const oriented = (of: DerivedFactors["formed"]): RankRFactors => {
      const { a, bt } = itemAt(of, index);
      return sizes.tall ? { long: bt, short: a } : { long: a, short: bt };
    };
    const [lambda, gamma] = [parameters.get(tensors.lambda.name), parameters.get(tensors.gamma.name)];
    return {
      sizes,
      values: { lambda: lambda.value, gamma: gamma.value },
      gradients: { lambda: lambda.gradient, gamma: gamma.gradient },
      formed: oriented(factors.formed),
      summed: oriented(factors.gradients),
    };
  });
  const method = factors.method(weights, mode, {
    form(run) {
      for (const { sizes, values, formed } of trained) shared.form(run, sizes, values, formed);
    },
    fold(run) {
      for (const { sizes, summed, gradients } of trained) shared.fold(run, sizes, summed, gradients);
    },
  });
  return { ...method, choices: { bases: basesFrom } };
}

function shapesOf(layers: readonly BilinearLayer[]): readonly BilinearShape[] {
  return layers.map(({ sizes }) => sizes);
}

/** A layer as the product of two factors. */
function withRank(scale: number) {
  return (layer: BilinearLayer) => ({ ...layer, rank: layer.sizes.r, scale });
}
