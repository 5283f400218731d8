import type { Device, DeviceBuffer } from "../../compute/device/device.ts";
import { type Linears, PLAIN_LINEARS } from "../../models/blocks/linears.ts";
import { recordGemm } from "../../compute/tensor/gemm.ts";
import type { Run } from "../../compute/tensor/run.ts";
import { pitchOf, sliceCols, sliceRows, type Tensor, tensorIn } from "../../compute/tensor/tensor.ts";
import { recordWidened } from "../../compute/tensor/widen.ts";
import {
  adapterInput,
  addInputGradient,
  type LinearGradients,
  type LinearOperands,
  type Masks,
  recordAdapted,
} from "../delta/through-weights/adapted-linear.ts";
import { fuse, type FusedMatrix, type FusedPart, mergedBytes } from "../delta/through-weights/fused.ts";
import { Scratch } from "../delta/through-weights/scratch.ts";
import type { ThetaLayer } from "../../compute/device/families/theta.ts";
import type { Staging } from "../../compute/device/staging.ts";
import type { ThetaKey } from "./stream.ts";
import { gradientBytes, heldBytes, type ModuleRows, type ProductsPlan } from "./products.ts";

/** One module under training. */
export interface TrainedModule {
  /** As adapters name it. */
  readonly name: string;
  /** W (out, in) as stored: whole rows of the matrix that the decoder multiplies with. */
  readonly weight: Tensor;
  readonly shape: ThetaLayer;
  /** Tells the dropout masks of modules apart. */
  readonly index: number;
}

/** What an adapter under training is made of. */
export interface TrainedThetaOptions {
  readonly modules: readonly TrainedModule[];
  /** α (1, K) and ∂loss/∂α, F32. */
  readonly coefficients: Tensor;
  readonly gradient: Tensor;
  readonly key: ThetaKey;
  /** Does training drop a part of the adapters' inputs? Then W and ΔW are multiplied with apart. */
  readonly dropout: boolean;
  /** One for each matrix of `fuse(modules)`, in that order: see `planProducts`. */
  readonly plans: readonly ProductsPlan[];
  readonly staging?: Staging | undefined;
}

interface Part extends FusedPart<TrainedModule> {
  /** ΔW, where it is held. */
  readonly delta: Tensor | undefined;
  /** G, where it is summed over micro-batches. */
  readonly product: Tensor | undefined;
}

interface Matrix {
  /** The frozen W (out, in), as the decoder multiplies with it. */
  readonly weight: Tensor;
  readonly parts: readonly Part[];
  /** W', where it is held. */
  readonly merged: Tensor | undefined;
}

/** Bytes of scratch that the matrices share. */
export function scratchSizes(
  matrices: readonly FusedMatrix<TrainedModule>[],
  plans: readonly ProductsPlan[],
  { dropout, parts }: { readonly dropout: boolean; readonly parts: number },
): { readonly merged: number; readonly product: number; readonly parts: number } {
  const most = (
    isHeld: (plan: ProductsPlan | undefined) => boolean,
    bytes: (matrix: FusedMatrix<TrainedModule>) => number,
  ) => Math.max(0, ...matrices.map((matrix, index) => (isHeld(plans[index]) ? 0 : bytes(matrix))));
  const largest = (modules: readonly ModuleRows[], bytes: (module: ModuleRows) => number) =>
    Math.max(...modules.map(bytes));
  return {
    merged: most(
      (plan) => plan?.kept === true,
      ({ shape }) =>
        dropout ? largest(shape.modules, (module) => mergedBytes(module.out, module.in)) : heldBytes(shape, false),
    ),
    product: most(
      (plan) => plan?.summed === true,
      ({ shape }) => largest(shape.modules, gradientBytes),
    ),
    parts,
  };
}

/**
 * A PRANC adapter as a reparametrisation of a decoder's frozen matrices: W' = W + Σ_i α_i θ_i. y and ∂loss/∂x go through
 * W', and ∂loss/∂α through G = ∂loss/∂ΔW. A step is `prepare`, then any number of micro-batches through `linears`, then `finish`.
 */
export class TrainedTheta {
  readonly #gpu: Device;
  readonly #options: TrainedThetaOptions;
  readonly #scratch: Scratch<"merged" | "product" | "parts">;
  readonly #matrices: ReadonlyMap<DeviceBuffer, Matrix>;
  /** Matrices whose G holds sums of this step. */
  readonly #begun = new Set<Matrix>();

  /** @throws RandloraError `memory` */
  constructor(gpu: Device, options: TrainedThetaOptions) {
    const { modules, plans, dropout, coefficients, staging = gpu.staging } = options;
    this.#gpu = gpu;
    this.#options = options;
    const fused = fuse(modules);
    const { parts } = gpu.scratchBytes("thetaGradient", { bases: coefficients.shape[1] }, staging);
    this.#scratch = new Scratch(gpu, { ...scratchSizes(fused, plans, { dropout, parts }) });
    this.#matrices = new Map(fused.map((matrix, index) => [matrix.weight.buffer, this.#hold(matrix, plans[index])]));
  }

  /** Records what depends on α alone: before the first micro-batch of a step, and before an evaluation. */
  prepare(run: Run): void {
    for (const matrix of this.#matrices.values()) {
      if (matrix.merged !== undefined) this.#merge(run, matrix, matrix.merged);
      for (const part of matrix.parts) if (part.delta !== undefined) this.#delta(run, part, part.delta, false);
    }
  }

  /**
   * The decoder's projections in one pass.
   * @param masks what dropout drops; undefined: nothing, as in an evaluation
   */
  linears(masks: Masks): Linears {
    if (masks !== undefined && !this.#options.dropout) throw new Error("this adapter was not made for dropout");
    return {
      apply: (recorder, inputs) => {
        const matrix = this.#matrices.get(inputs.weight.buffer);
        if (matrix === undefined) return PLAIN_LINEARS.apply(recorder, inputs);
        if (inputs.weight.shape[0] !== matrix.weight.shape[0]) {
          throw new Error("a part of an adapted matrix is multiplied with");
        }
        return recordAdapted(recorder, inputs, {
          forward: (run, operands, y) => this.#forward(run, matrix, operands, y, masks),
          backward: (run, gradients) => this.#backward(run, matrix, gradients, masks),
        });
      },
    };
  }

  /** Records what is left to do for ∂loss/∂α once all micro-batches of a step have been differentiated. */
  finish(run: Run): void {
    for (const { parts } of this.#begun) {
      for (const part of parts) if (part.product !== undefined) this.#gradient(run, part, part.product);
    }
    this.#begun.clear();
  }

  /** Records y = xW'ᵀ, or xWᵀ + drop(x)·ΔWᵀ where dropout keeps the two apart. */
  #forward(run: Run, matrix: Matrix, { x, bias, residual }: LinearOperands, y: Tensor, masks: Masks): void {
    const b = this.#options.dropout ? matrix.weight : this.#mergedOf(run, matrix);
    recordGemm(run, { order: "NT", a: x, b, y, bias, residual });
    if (!this.#options.dropout) return;
    for (const part of matrix.parts) {
      const input = adapterInput(run, part.module, x, masks);
      const columns = sliceCols(y, part.first, part.module.shape.out);
      recordGemm(run, { order: "NT", a: input.x, b: this.#deltaOf(run, part), y: columns, accumulate: true });
      input.free();
    }
  }

  /** Records ∂loss/∂x, and adds to ∂loss/∂α, or to G where that is summed. */
  #backward(run: Run, matrix: Matrix, { x, dy, dx }: LinearGradients, masks: Masks): void {
    const { dropout } = this.#options;
    if (dx !== undefined) {
      const b = dropout ? matrix.weight : this.#mergedOf(run, matrix);
      recordGemm(run, { order: "NN", a: dy, b, y: dx });
    }
    const accumulate = this.#begun.has(matrix);
    for (const part of matrix.parts) {
      const { shape } = part.module;
      const columns = sliceCols(dy, part.first, shape.out);
      if (dx !== undefined && dropout) {
        addInputGradient(run, part.module, dx, masks, (y, add) =>
          recordGemm(run, { order: "NN", a: columns, b: this.#deltaOf(run, part), y, accumulate: add }),
        );
      }
      const input = adapterInput(run, part.module, x, masks);
      const g = part.product ?? tensorIn(this.#scratch.get("product"), [shape.out, shape.in], "F32");
      recordGemm(run, {
        order: "TN",
        a: columns,
        b: input.x,
        y: g,
        accumulate: part.product !== undefined && accumulate,
      });
      input.free();
      if (part.product === undefined) this.#gradient(run, part, g);
      else this.#begun.add(matrix);
    }
  }

  #gradient(run: Run, { module }: Part, g: Tensor): void {
    const { key, gradient: target } = this.#options;
    run.compute("thetaGradient", { layer: module.shape, key, g, target, parts: this.#scratch.get("parts") });
  }

  /** W', held or formed now in scratch. */
  #mergedOf(run: Run, matrix: Matrix): Tensor {
    if (matrix.merged !== undefined) return matrix.merged;
    const { shape, pitch } = matrix.weight;
    const target: Tensor = { shape, dtype: "F32", buffer: this.#scratch.get("merged"), offset: 0, pitch };
    this.#merge(run, matrix, target);
    return target;
  }

  /** ΔW of one module, held or formed now in scratch. */
  #deltaOf(run: Run, part: Part): Tensor {
    if (part.delta !== undefined) return part.delta;
    const { out, in: input } = part.module.shape;
    const target = tensorIn(this.#scratch.get("merged"), [out, input], "F32");
    this.#delta(run, part, target, false);
    return target;
  }

  /** Records W' of a whole matrix; rows of modules that are not adapted are those of W. */
  #merge(run: Run, { weight, parts }: Matrix, target: Tensor): void {
    recordWidened(run, weight, target);
    for (const part of parts) this.#delta(run, part, sliceRows(target, part.first, part.module.shape.out), true);
  }

  /** Records target (+)= ΔW of one module. */
  #delta(run: Run, { module: { shape } }: Part, target: Tensor, accumulate: boolean): void {
    const { coefficients, key } = this.#options;
    const { buffer, offset, pitch } = target;
    const block = { firstRow: 0, rows: shape.out, target: buffer, at: offset, pitch, accumulate };
    run.compute("thetaDelta", { layer: shape, key, coefficients, transposed: false, block });
  }

  /** Allocates what a matrix holds for itself. */
  #hold({ weight, parts }: FusedMatrix<TrainedModule>, plan: ProductsPlan | undefined): Matrix {
    if (plan === undefined) throw new RangeError(`${weight.buffer.label}: nothing is planned`);
    const { dropout } = this.#options;
    const [out, input] = weight.shape;
    const hold = (label: string, bytes: number): DeviceBuffer =>
      this.#gpu.memory.allocate(`${weight.buffer.label}: ${label}`, bytes);
    const held = (label: string, bytes: number) => ({ dtype: "F32" as const, buffer: hold(label, bytes), offset: 0 });
    const merged =
      plan.kept && !dropout
        ? { ...held("W'", mergedBytes(out, input)), shape: weight.shape, pitch: weight.pitch }
        : undefined;
    return {
      weight,
      merged,
      parts: parts.map((part) => {
        const { shape } = part.module;
        const size = [shape.out, shape.in] as const;
        return {
          ...part,
          delta:
            plan.kept && dropout
              ? { ...held("ΔW", mergedBytes(...size)), shape: size, pitch: pitchOf(shape.in, "F32") }
              : undefined,
          product: plan.summed ? tensorIn(hold("G", gradientBytes(shape)), size, "F32") : undefined,
        };
      }),
    };
  }
}
