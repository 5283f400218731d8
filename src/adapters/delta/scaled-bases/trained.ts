import type { Device, DeviceBuffer } from "../../../compute/device/device.ts";
import { recordZero } from "../../../compute/tensor/fill.ts";
import { recordGemm } from "../../../compute/tensor/gemm.ts";
import type { Recorder } from "../../../compute/tensor/recorder.ts";
import type { Run } from "../../../compute/tensor/run.ts";
import { sliceRows, type Tensor } from "../../../compute/tensor/tensor.ts";
import {
  type GroupedProjection,
  type JointAdapter,
  type Linears,
  projectGroups,
  type Projection,
  type RowsOf,
} from "../../../models/blocks/linears.ts";
import type { Masks } from "../../method/training.ts";
import type { LinearGradients, LinearOperands } from "../through-weights/adapted-linear.ts";
import { fuse, type FusedPart, type AdaptedModule, type HeldMatrix, Scratch } from "../through-weights/held.ts";
import { TrainedWeights } from "../through-weights/trained.ts";
import { addOfExperts, type ExpertModules, modulesOfExperts, prepareExperts } from "./experts.ts";
import {
  type AdapterContext,
  addBasisGradient,
  addFactored,
  addFactoredBackward,
  recordIntoBasis,
  type TrainedModule,
  type WorkspaceRole,
  workspaceSizes,
} from "./factored.ts";
import { type AdaptedRow, addFewRows, areFew } from "./few-rows.ts";
import type { OrderPlan } from "./shape.ts";
import type { TrainingBases } from "./training-bases.ts";

/** What an adapter under training is made of. */
export interface TrainedBilinearOptions {
  readonly bases: TrainingBases;
  readonly modules: readonly TrainedModule[];
  /** α/r. */
  readonly scale: number;
  readonly dropout: boolean;
  /** See `planOrders`. */
  readonly plans: readonly OrderPlan[];
  /** Of `trainedSizes`; its own by default. */
  readonly workspace?: Scratch<WorkspaceRole> | undefined;
}

/** A module, and how its ΔW is formed. */
type FormedModule = TrainedModule & AdaptedModule;

/** An adapter under training, ΔW = scale · B̂Ŝ(λ, γ): through W', or where that is planned through the factors. */
export class TrainedBilinear extends TrainedWeights<FormedModule, OrderPlan> implements JointAdapter {
  readonly #context: AdapterContext;
  /** Those of matrices of experts, where these are computed beside the weights. */
  readonly #experts = new Map<DeviceBuffer, readonly ExpertModules[]>();

  /** @throws RandloraError `memory` */
  constructor(gpu: Device, options: TrainedBilinearOptions) {
    const { bases, modules, scale, dropout, plans, workspace = new Scratch(gpu, trainedSizes(options)) } = options;
    const context = { bases, workspace, scale };
    const formed = modules.map((module, index): FormedModule => ({
      ...module,
      index,
      form: (run, target, accumulate, from) => form(run, context, module, { target, accumulate, from }),
      fold: (run, g) => fold(run, context, module, g),
    }));
    super(gpu, formed, { plans, dropout, scratch: workspace });
    this.#context = context;
    for (const [buffer, { weight, experts, parts, plan }] of this.matrices) {
      if (experts === undefined || plan.order !== "factored") continue;
      this.#experts.set(buffer, modulesOfExperts(gpu, weight.shape[0], experts, parts));
    }
  }

  /** Adapters over the same bases multiply rows of a batch with these at once. */
  get group(): object {
    return this.#context.bases;
  }

  /** Is ΔW multiplied with apart from W, so that another method may have its part in the product with W? */
  get addsToOthers(): boolean {
    return [...this.matrices.values()].every(({ plan }) => plan.order === "factored");
  }

  override prepare(run: Run): void {
    super.prepare(run);
    for (const modules of this.#experts.values()) for (const one of modules) prepareExperts(run, one);
  }

  /** @param base computes the rest in place of the plain projections; only where {@link addsToOthers} */
  override linears(masks: Masks, base?: Linears): Linears {
    if (base === undefined) return super.linears(masks);
    return {
      applyGrouped: (recorder, projection) => this.#addGroups(recorder, projection, base),
      apply: (recorder, inputs) => {
        const y = base.apply(recorder, inputs);
        const matrix = this.adapted(inputs);
        if (matrix === undefined) return y;
        const { x } = inputs;
        this.#add(recorder.run, matrix, inputs, y, masks);
        recorder.record({
          name: "added adapter",
          trains: true,
          inputs: [x],
          outputs: [y],
          saves: () => [x],
          backward: (run, [dy], [dx]) => {
            if (dy === undefined) return;
            if (dx !== undefined) recordZero(run, dx);
            addFactoredBackward(run, this.#context, matrix.parts, { x, dy, dx }, masks);
          },
        });
        return y;
      },
    };
  }

  /** @throws TypeError for rows of other adapters than those of this class */
  over(base: Linears, rows: readonly RowsOf<JointAdapter>[]): Linears {
    const own = rows.map(({ adapter, ...place }) => {
      if (!(adapter instanceof TrainedBilinear)) throw new TypeError("rows of adapters that have no bases in common");
      return { adapter, ...place };
    });
    return {
      apply: (recorder, inputs) => {
        const y = base.apply(recorder, inputs);
        this.#addTogether(recorder.run, own, inputs, y);
        return y;
      },
    };
  }

  protected override groups(
    recorder: Recorder,
    matrix: HeldMatrix<FormedModule, OrderPlan>,
    projection: GroupedProjection,
  ): Tensor {
    if (matrix.plan.order !== "factored") return super.groups(recorder, matrix, projection);
    return this.#addGroups(recorder, projection, undefined);
  }

  /** Records what `base` makes of experts' rows, and adds what goes through their factors, of which none is differentiated. */
  #addGroups(recorder: Recorder, projection: GroupedProjection, base: Linears | undefined): Tensor {
    const y = projectGroups(recorder, base, projection);
    const modules = this.#experts.get(projection.weight.buffer) ?? [];
    addOfExperts(recorder.run, this.#context, modules, projection, y);
    return y;
  }

  /** dŜ = scale · (big·B̂)ᵀ·small. */
  protected override foldOperands(
    run: Run,
    { plan }: HeldMatrix<FormedModule, OrderPlan>,
    module: FormedModule,
    big: Tensor,
    small: Tensor,
  ): boolean {
    if (plan.order !== "merged-h") return false;
    const h = run.allocate("H", [big.shape[0], module.shape.terms]);
    recordIntoBasis(run, this.#context, module.shape, big, h);
    addBasisGradient(run, this.#context, module, h, small);
    run.release(h);
    return true;
  }

  protected override forward(
    run: Run,
    matrix: HeldMatrix<FormedModule, OrderPlan>,
    operands: LinearOperands,
    y: Tensor,
    masks: Masks,
  ): void {
    if (matrix.plan.order !== "factored") {
      super.forward(run, matrix, operands, y, masks);
      return;
    }
    const { x, bias, residual, rowsAtMost } = operands;
    // A token alone, as texts are written, takes a device's vector path.
    run.compute("linear", { x, weight: matrix.weight, bias, residual, scale: 1, rowsAtMost, y });
    this.#add(run, matrix, operands, y, masks);
  }

  /** Records y += x ΔWᵀ, one way for the few rows of a batch and another for all else. */
  #add(
    run: Run,
    { parts }: HeldMatrix<FormedModule, OrderPlan>,
    operands: Pick<LinearOperands, "x" | "rowsAtMost">,
    y: Tensor,
    masks: Masks,
  ): void {
    const { x, rowsAtMost = Infinity } = operands;
    if (masks !== undefined || !areFew(rowsAtMost, this.#context.bases.r)) {
      addFactored(run, this.#context, parts, operands, y, masks);
      return;
    }
    addFewRows(run, this.#rowsOf(parts, 0, x.shape[0]), { x, rowsAtMost, y });
  }

  /** The same of rows of several adapters, which may adapt different modules. */
  #addTogether(run: Run, rows: readonly RowsOf<TrainedBilinear>[], inputs: Projection, y: Tensor): void {
    const { x, rowsAtMost = Infinity } = inputs;
    const adapted = rows.flatMap(({ adapter, ...place }) => {
      const matrix = adapter.adapted(inputs);
      return matrix === undefined ? [] : [{ adapter, matrix, ...place }];
    });
    if (areFew(rowsAtMost, this.#context.bases.r)) {
      const all = adapted.flatMap(({ adapter, matrix, first, count }) => adapter.#rowsOf(matrix.parts, first, count));
      addFewRows(run, all, { x, rowsAtMost, y });
      return;
    }
    for (const { adapter, matrix, first, count } of adapted) {
      const some = { x: sliceRows(x, first, count), rowsAtMost };
      adapter.#add(run, matrix, some, sliceRows(y, first, count), undefined);
    }
  }

  /** Rows `first` … of a pass in each of these modules. */
  #rowsOf(parts: readonly FusedPart<FormedModule>[], first: number, count: number): AdaptedRow[] {
    const context = this.#context;
    const rows = Array.from({ length: count }, (_, at) => first + at);
    return parts.flatMap(({ module, first: column }) => rows.map((row) => ({ ...module, row, column, context })));
  }

  protected override backward(
    run: Run,
    matrix: HeldMatrix<FormedModule, OrderPlan>,
    gradients: LinearGradients,
    masks: Masks,
  ): void {
    if (matrix.plan.order !== "factored") {
      super.backward(run, matrix, gradients, masks);
      return;
    }
    const { dy, dx } = gradients;
    if (dx !== undefined) recordGemm(run, { order: "NN", a: dy, b: matrix.weight, y: dx });
    addFactoredBackward(run, this.#context, matrix.parts, gradients, masks);
  }
}

/** Bytes of scratch that an adapter needs beside what is held of each matrix. */
export function trainedSizes({
  bases,
  modules,
  dropout,
  plans,
}: TrainedBilinearOptions): Record<WorkspaceRole, number> {
  const shapes = fuse(modules).map(({ shape }) => shape);
  const [partBytes, panelBytes] = [bases.partBytes.bind(bases), bases.operandBytes.bind(bases)];
  return { ...workspaceSizes(shapes, plans, { partBytes, dropout, panelBytes }) };
}

/** Records target (+)= ΔW of a module, from λ and γ where they lie. */
function form(
  run: Run,
  { bases, workspace, scale }: AdapterContext,
  { shape, lambda, gamma }: TrainedModule,
  {
    target,
    accumulate,
    from = 0,
  }: { readonly target: Tensor; readonly accumulate: boolean; readonly from?: number | undefined },
): void {
  const { terms } = shape;
  const ordered = workspace.get("lambda");
  const padded = Math.ceil(terms / 16) * 16;
  run.compute("lambdaOrder", { pairing: bases.pairing, terms, padded, lambda, target: ordered });
  const rows = { of: gamma.buffer, offset: gamma.offset * 4, size: shape.bases * gamma.pitch * 4 };
  const layer = { shape, weightIsTransposed: false, scale, lambda: ordered, gamma: rows };
  const { buffer, offset, pitch } = target;
  const block = { firstRow: from, rows: target.shape[0], target: buffer, at: offset, pitch, accumulate };
  bases.delta.form(run, layer, block);
}

/** dŜ = scale · B̂ᵀ·G, block after block of B̂'s rows. */
function fold(run: Run, context: AdapterContext, module: TrainedModule, g: Tensor): void {
  const { bases, workspace } = context;
  for (const { first, operand } of bases.operands(run, module.shape, workspace.find("panel"))) {
    addBasisGradient(run, context, module, operand, sliceRows(g, first, operand.shape[0]));
  }
}
