import type { Device, DeviceBuffer } from "../../../compute/device/device.ts";
import { type Linears, PLAIN_LINEARS, type Projection } from "../../../models/blocks/linears.ts";
import { recordZero } from "../../../compute/tensor/fill.ts";
import type { Recorder } from "../../../compute/tensor/recorder.ts";
import type { Run } from "../../../compute/tensor/run.ts";
import { pitchOf, sliceRows, type Tensor, tensorIn } from "../../../compute/tensor/tensor.ts";
import type { AdaptedMatrix } from "./adapted-matrix.ts";
import {
  type LinearGradients,
  type LinearOperands,
  type Masks,
  recordAdapted,
} from "../through-weights/adapted-linear.ts";
import type { AdapterContext } from "./context.ts";
import { addFactored, addFactoredBackward, factoredBackward, factoredForward } from "./factored.ts";
import type { OrderPlan } from "./flops.ts";
import { type FusedMatrix, fuse, mergedBytes } from "../through-weights/fused.ts";
import { Scratch } from "../through-weights/scratch.ts";
import type { FormedWeights } from "../../training/method.ts";
import { recordDelta } from "./delta-rows.ts";
import { finishMerged, mergedBackward, mergedForward, prepareMerged } from "./merged.ts";
import type { TrainedModule } from "./module.ts";
import type { TrainingBases } from "./training-bases.ts";
import { productBytes, workspaceSizes } from "./workspace.ts";

/** What an adapter under training is made of. */
export interface TrainedBilinearOptions {
  readonly bases: TrainingBases;
  readonly modules: readonly TrainedModule[];
  /** α/r. */
  readonly scale: number;
  /** Does training drop a part of the adapters' inputs? Then W and ΔW are multiplied with apart. */
  readonly dropout: boolean;
  /** One for each matrix of `fuse(modules)`, in that order: see `planOrders`. */
  readonly plans: readonly OrderPlan[];
}

/**
 * An adapter as a reparametrisation of a decoder's frozen matrices: W' = W + scale · B̂Ŝ(λ, γ). It computes adapted layers
 * in the planned orders, and their gradients by λ and γ, which it adds to the tensors of its modules. A step is
 * `prepare`, then any number of micro-batches through `linears`, then `finish`.
 */
export class TrainedBilinear {
  readonly #gpu: Device;
  readonly #context: AdapterContext;
  readonly #matrices: ReadonlyMap<DeviceBuffer, AdaptedMatrix>;
  /** Matrices whose G holds sums of this step. */
  readonly #begun = new Set<AdaptedMatrix>();

  /** @throws RandloraError `memory` */
  constructor(gpu: Device, options: TrainedBilinearOptions) {
    const { bases, modules, scale, dropout, plans } = options;
    const fused = fuse(modules);
    const sizes = workspaceSizes(
      fused.map(({ shape }) => shape),
      plans,
      {
        partBytes: (shape) => bases.partBytes(shape),
        dropout,
        panelBytes: (shape) => bases.operandBytes(shape),
      },
    );
    this.#gpu = gpu;
    this.#context = { bases, workspace: new Scratch(gpu, { ...sizes }), scale, dropout };
    this.#matrices = new Map(
      fused.map((matrix, index) => [matrix.weight.buffer, this.#hold(matrix, plans[index], modules)]),
    );
  }

  /** Records what depends on λ and γ alone: before the first micro-batch of a step, and before an evaluation. */
  prepare(run: Run): void {
    for (const matrix of this.#matrices.values()) prepareMerged(run, this.#context, matrix);
  }

  /**
   * The decoder's projections in one pass.
   * @param masks what dropout drops; undefined: nothing, as in an evaluation
   * @param base computes the rest in place of the plain projections; only where {@link addsToOthers}
   */
  linears(masks: Masks, base?: Linears): Linears {
    if (masks !== undefined && !this.#context.dropout) throw new Error("this adapter was not made for dropout");
    return {
      apply: (recorder, inputs) =>
        base === undefined ? this.#apply(recorder, inputs, masks) : this.#add(recorder, inputs, masks, base),
    };
  }

  /** Is ΔW multiplied with apart from W, so that another method may have its part in the product with W? */
  get addsToOthers(): boolean {
    return [...this.#matrices.values()].every(({ plan }) => plan.order === "factored");
  }

  /** Records what is left to do for the gradients once all micro-batches of a step have been differentiated. */
  finish(run: Run): void {
    for (const matrix of this.#begun) finishMerged(run, this.#context, matrix);
    this.#begun.clear();
  }

  /** W + ΔW of the modules, for what is made of it. */
  get formed(): FormedWeights {
    const parts = new Map(
      [...this.#matrices.values()].flatMap((matrix) =>
        matrix.parts.map((part) => [part.module.name, { matrix, part }]),
      ),
    );
    const find = (module: string) => {
      const found = parts.get(module);
      if (found === undefined) throw new RangeError(`${module} is not adapted`);
      return found;
    };
    return {
      held(module) {
        const { matrix, part } = find(module);
        if (part.delta !== undefined) return { tensor: part.delta, of: "ΔW" };
        if (matrix.merged === undefined) return undefined;
        return { tensor: sliceRows(matrix.merged, part.first, part.shape.out), of: "W + ΔW" };
      },
      record: (run, module, first, target) => {
        recordDelta(run, this.#context, find(module).part, target, false, first);
      },
    };
  }

  #apply(recorder: Recorder, inputs: Projection, masks: Masks): Tensor {
    const matrix = this.#adapted(inputs);
    if (matrix === undefined) return PLAIN_LINEARS.apply(recorder, inputs);
    return recordAdapted(recorder, inputs, {
      forward: (run, operands, y) => this.#forward(run, matrix, operands, y, masks),
      backward: (run, gradients) => this.#backward(run, matrix, gradients, masks),
    });
  }

  /** What `base` computes, and x ΔWᵀ added to it. */
  #add(recorder: Recorder, inputs: Projection, masks: Masks, base: Linears): Tensor {
    const y = base.apply(recorder, inputs);
    const matrix = this.#adapted(inputs);
    if (matrix === undefined) return y;
    const { x } = inputs;
    addFactored(recorder.run, this.#context, matrix, x, y, masks);
    recorder.record({
      name: "added adapter",
      trains: true,
      inputs: [x],
      outputs: [y],
      saves: () => [x],
      backward: (run, [dy], [dx]) => {
        if (dy === undefined) return;
        if (dx !== undefined) recordZero(run, dx);
        addFactoredBackward(run, this.#context, matrix, { x, dy, dx }, masks);
      },
    });
    return y;
  }

  /** The matrix that is multiplied with, where it is adapted. */
  #adapted({ weight }: Projection): AdaptedMatrix | undefined {
    const matrix = this.#matrices.get(weight.buffer);
    if (matrix === undefined || weight.shape[0] === matrix.weight.shape[0]) return matrix;
    throw new Error("a part of an adapted matrix is multiplied with");
  }

  /** Records y of a matrix. */
  #forward(run: Run, matrix: AdaptedMatrix, inputs: LinearOperands, y: Tensor, masks: Masks): void {
    const record = matrix.plan.order === "factored" ? factoredForward : mergedForward;
    record(run, this.#context, matrix, inputs, y, masks);
  }

  /** Records ∂loss/∂x of a matrix, and adds to the gradients of its modules. */
  #backward(run: Run, matrix: AdaptedMatrix, gradients: LinearGradients, masks: Masks): void {
    if (matrix.plan.order === "factored") {
      factoredBackward(run, this.#context, matrix, gradients, masks);
      return;
    }
    mergedBackward(run, this.#context, matrix, gradients, masks, !this.#begun.has(matrix));
    if (matrix.plan.summed) this.#begun.add(matrix);
  }

  /** Allocates what a matrix holds for itself. */
  #hold(
    fused: FusedMatrix<TrainedModule>,
    plan: OrderPlan | undefined,
    modules: readonly TrainedModule[],
  ): AdaptedMatrix {
    if (plan === undefined) throw new RangeError(`${fused.weight.buffer.label}: no order is planned`);
    const { weight } = fused;
    const [out, input] = weight.shape;
    const { order, kept, summed } = plan;
    const apart = this.#context.dropout;
    const holds = order !== "factored" && kept;
    const allocate = (label: string, bytes: number) =>
      this.#gpu.memory.allocate(`${weight.buffer.label}: ${label}`, bytes);
    const f32 = (buffer: DeviceBuffer, shape: Tensor["shape"], pitch: number): Tensor => {
      return { shape, dtype: "F32", buffer, offset: 0, pitch };
    };
    return {
      weight,
      plan,
      merged: holds && !apart ? f32(allocate("W'", mergedBytes(out, input)), [out, input], weight.pitch) : undefined,
      parts: fused.parts.map(({ module, first }) => {
        const { shape } = module;
        return {
          module,
          shape,
          first,
          index: modules.indexOf(module),
          delta:
            holds && apart
              ? f32(allocate("ΔW", mergedBytes(shape.out, shape.in)), [shape.out, shape.in], pitchOf(shape.in, "F32"))
              : undefined,
          product: summed ? tensorIn(allocate("G", productBytes(shape)), [shape.rows, shape.cols], "F32") : undefined,
        };
      }),
    };
  }
}
