import type { Device, DeviceBuffer } from "../../../compute/device/device.ts";
import { recordGemm } from "../../../compute/tensor/gemm.ts";
import type { Run } from "../../../compute/tensor/run.ts";
import { partCols, sliceRows, type Tensor, tensorIn } from "../../../compute/tensor/tensor.ts";
import { recordWidened } from "../../../compute/tensor/widen.ts";
import type { Recorder } from "../../../compute/tensor/recorder.ts";
import {
  type GroupedProjection,
  type Linears,
  PLAIN_LINEARS,
  projectGroups,
  type Projection,
} from "../../../models/blocks/linears.ts";
import type { FormedWeights, Masks } from "../../method/training.ts";
import {
  type AdaptedExperts,
  adapterInput,
  addInputGradient,
  type LinearGradients,
  type LinearOperands,
  recordAdapted,
  recordAdaptedExperts,
} from "./adapted-linear.ts";
import {
  fuse,
  type AdaptedModule,
  expertsAtOnce,
  gradientShape,
  type HeldMatrix,
  type HeldPart,
  holdMatrix,
  type ProductsPlan,
  Scratch,
  scratchSizes,
} from "./held.ts";

/** How an adapter is trained. */
export interface AdaptedOptions<P extends ProductsPlan> {
  /** Does training drop a part of the adapters' inputs? Then W and ΔW are multiplied with apart. */
  readonly dropout: boolean;
  /** One for each matrix of `fuse(modules)`, in that order: see `planProducts`. */
  readonly plans: readonly P[];
  /** For what is not held; its own by default. */
  readonly scratch?: Scratch<"merged" | "product">;
}

/**
 * A decoder's frozen matrices under an adapter, whatever ΔW is a function of: y and ∂loss/∂x go through W' = W + ΔW, and the
 * gradients of what is trained through G = ∂loss/∂ΔW = dyᵀx. A step is `prepare`, then any number of micro-batches through
 * `linears`, then `finish`.
 */
export class TrainedWeights<M extends AdaptedModule = AdaptedModule, P extends ProductsPlan = ProductsPlan> {
  protected readonly dropout: boolean;
  protected readonly matrices: ReadonlyMap<DeviceBuffer, HeldMatrix<M, P>>;
  readonly #scratch: Scratch<"merged" | "product">;
  /** Matrices whose G holds sums of this step. */
  readonly #begun = new Set<HeldMatrix<M, P>>();

  /** @throws RandloraError `memory` */
  constructor(gpu: Device, modules: readonly M[], { dropout, plans, scratch }: AdaptedOptions<P>) {
    this.dropout = dropout;
    const fused = fuse(modules);
    const shapes = fused.map(({ shape }) => shape);
    this.#scratch = scratch ?? new Scratch(gpu, scratchSizes(shapes, plans, dropout));
    this.matrices = new Map(
      fused.map((matrix, index) => [matrix.weight.buffer, holdMatrix(gpu, matrix, plans[index], dropout)]),
    );
  }

  /** Records what depends on what is trained alone: before the first micro-batch of a step, and before an evaluation. */
  prepare(run: Run): void {
    for (const matrix of this.matrices.values()) {
      if (matrix.merged !== undefined) this.#merge(run, matrix, matrix.merged);
      for (const { module, delta } of matrix.parts) if (delta !== undefined) module.form(run, delta, false);
    }
  }

  /**
   * The decoder's projections in one pass.
   * @param masks what dropout drops; undefined: nothing, as in an evaluation
   */
  linears(masks: Masks): Linears {
    if (masks !== undefined && !this.dropout) throw new Error("this adapter was not made for dropout");
    return {
      apply: (recorder, inputs) => {
        const matrix = this.adapted(inputs);
        if (matrix === undefined) return PLAIN_LINEARS.apply(recorder, inputs);
        return recordAdapted(recorder, inputs, {
          forward: (run, operands, y) => this.forward(run, matrix, operands, y, masks),
          backward: (run, gradients) => this.backward(run, matrix, gradients, masks),
        });
      },
      applyGrouped: (recorder, projection) => {
        const matrix = this.matrices.get(projection.weight.buffer);
        if (matrix === undefined) return projectGroups(recorder, undefined, projection);
        return this.groups(recorder, matrix, projection);
      },
    };
  }

  /** Records what is left to do for the gradients once all micro-batches of a step have been differentiated. */
  finish(run: Run): void {
    for (const { parts } of this.#begun) {
      for (const { module, product } of parts) if (product !== undefined) module.fold(run, product);
    }
    this.#begun.clear();
  }

  /** W + ΔW of the modules, for what is made of it. */
  get formed(): FormedWeights {
    const all = [...this.matrices.values()].flatMap((matrix) => matrix.parts.map((part) => ({ matrix, part })));
    const places = new Map(all.map((place) => [place.part.module.name, place]));
    const find = (module: string) => {
      const found = places.get(module);
      if (found === undefined) throw new RangeError(`${module} is not adapted`);
      return found;
    };
    return {
      held(module) {
        const { matrix, part } = find(module);
        if (part.delta !== undefined) return { tensor: part.delta, of: "ΔW" };
        if (matrix.merged === undefined) return undefined;
        return { tensor: sliceRows(matrix.merged, part.first, part.module.shape.out), of: "W + ΔW" };
      },
      record: (run, module, first, target) => find(module).part.module.form(run, target, false, first),
    };
  }

  /** The matrix that is multiplied with, where it is adapted. */
  protected adapted({ weight }: Projection): HeldMatrix<M, P> | undefined {
    const matrix = this.matrices.get(weight.buffer);
    if (matrix === undefined || weight.shape[0] === matrix.weight.shape[0]) return matrix;
    throw new Error("a part of an adapted matrix is multiplied with");
  }

  /** Records products of experts. */
  protected groups(recorder: Recorder, matrix: HeldMatrix<M, P>, projection: GroupedProjection): Tensor {
    return recordAdaptedExperts(recorder, projection, matrix, this.#expertsOf(matrix));
  }

  /** Records y of a matrix: xW'ᵀ, or xWᵀ + drop(x)·ΔWᵀ where dropout keeps the two apart. */
  protected forward(run: Run, matrix: HeldMatrix<M, P>, operands: LinearOperands, y: Tensor, masks: Masks): void {
    const { x, bias, residual } = operands;
    const b = this.dropout ? matrix.weight : this.#merged(run, matrix);
    recordGemm(run, { order: "NT", a: x, b, y, bias, residual });
    if (!this.dropout) return;
    for (const part of matrix.parts) {
      const input = adapterInput(run, part.module, x, masks);
      const columns = partCols(y, part.first, part.module.shape.out);
      recordGemm(run, { order: "NT", a: input.x, b: this.#delta(run, part), y: columns, accumulate: true });
      input.free();
    }
  }

  /** Records ∂loss/∂x of a matrix, and adds to the gradients of what is trained, or to G where that is summed. */
  protected backward(run: Run, matrix: HeldMatrix<M, P>, { x, dy, dx }: LinearGradients, masks: Masks): void {
    if (dx !== undefined) {
      const b = this.dropout ? matrix.weight : this.#merged(run, matrix);
      recordGemm(run, { order: "NN", a: dy, b, y: dx });
    }
    const isFirst = !this.#begun.has(matrix);
    for (const part of matrix.parts) {
      const { module, product } = part;
      const columns = partCols(dy, part.first, module.shape.out);
      if (dx !== undefined && this.dropout) {
        addInputGradient(run, module, dx, masks, (y, accumulate) =>
          recordGemm(run, { order: "NN", a: columns, b: this.#delta(run, part), y, accumulate }),
        );
      }
      const input = adapterInput(run, part.module, x, masks);
      const [big, small] = module.shape.tall === false ? [input.x, columns] : [columns, input.x];
      if (!this.foldOperands(run, matrix, module, big, small)) {
        const g = product ?? tensorIn(this.#scratch.get("product"), gradientShape(module.shape), "F32");
        recordGemm(run, { order: "TN", a: big, b: small, y: g, accumulate: product !== undefined && !isFirst });
        if (product === undefined) module.fold(run, g);
        else this.#begun.add(matrix);
      }
      input.free();
    }
  }

  /**
   * Records what dy and x add to the gradients without G, where there is a cheaper way, and says so.
   * @param big along the rows of G; `small` along its columns
   */
  protected foldOperands(_run: Run, _matrix: HeldMatrix<M, P>, _module: M, _big: Tensor, _small: Tensor): boolean {
    return false;
  }

  /** How W' of some of a matrix's experts is formed, and where their G goes. */
  #expertsOf(matrix: HeldMatrix<M, P>): AdaptedExperts {
    const { merged, weight, parts } = matrix;
    const [out, input] = weight.shape;
    return {
      atOnce: expertsAtOnce({ out, in: input, experts: matrix.experts }),
      merged: (run, first, rows) => {
        if (merged !== undefined) return sliceRows(merged, first, rows);
        const { shape, pitch } = sliceRows(weight, first, rows);
        const target: Tensor = { shape, dtype: "F32", buffer: this.#scratch.get("merged"), offset: 0, pitch };
        const some = parts.filter((part) => part.first >= first && part.first < first + rows);
        mergeRows(run, sliceRows(weight, first, rows), some, target, first);
        return target;
      },
      gradient: (shape) => tensorIn(this.#scratch.get("product"), shape, "F32"),
    };
  }

  /** W', held or formed now in scratch. */
  #merged(run: Run, matrix: HeldMatrix<M, P>): Tensor {
    if (matrix.merged !== undefined) return matrix.merged;
    const { shape, pitch } = matrix.weight;
    const target: Tensor = { shape, dtype: "F32", buffer: this.#scratch.get("merged"), offset: 0, pitch };
    this.#merge(run, matrix, target);
    return target;
  }

  /** ΔW of one module, held or formed now in scratch. */
  #delta(run: Run, { module, delta }: HeldPart<M>): Tensor {
    if (delta !== undefined) return delta;
    const target = tensorIn(this.#scratch.get("merged"), [module.shape.out, module.shape.in], "F32");
    module.form(run, target, false);
    return target;
  }

  /** Records W' of a whole matrix; rows of modules that are not adapted are those of W. */
  #merge(run: Run, { weight, parts }: HeldMatrix<M, P>, target: Tensor): void {
    mergeRows(run, weight, parts, target);
  }
}

/** Records W' of rows of a matrix, from its row `begin` on. */
function mergeRows<M extends AdaptedModule>(
  run: Run,
  weight: Tensor,
  parts: readonly HeldPart<M>[],
  target: Tensor,
  begin = 0,
): void {
  recordWidened(run, weight, target);
  for (const { module, first } of parts) {
    module.form(run, sliceRows(target, first - begin, module.shape.out), true);
  }
}
