import type { Device } from "../../../compute/device/device.ts";
import { recordZero } from "../../../compute/tensor/fill.ts";
import { recordGemm } from "../../../compute/tensor/gemm.ts";
import type { Run } from "../../../compute/tensor/run.ts";
import { sliceCols, sliceRows, type Tensor } from "../../../compute/tensor/tensor.ts";
import type { Linears } from "../../../models/blocks/linears.ts";
import type { Bases } from "../../frozen/drawing/bases.ts";
import type { BasesFrom } from "../../frozen/origin.ts";
import { writeTrained } from "../../train.ts";
import type { Method, PassKind, Placement } from "../../training/method.ts";
import { dropoutMasks, type Masks } from "../dropout.ts";
import type { LinearGradients, LinearOperands } from "../through-weights/adapted-linear.ts";
import { fuse } from "../through-weights/fused.ts";
import type { AdaptedModule, HeldMatrix } from "../through-weights/held.ts";
import { Scratch } from "../through-weights/scratch.ts";
import { TrainedWeights } from "../through-weights/trained.ts";
import type { BilinearPlan } from "./deltas.ts";
import {
  type AdapterContext,
  addBasisGradient,
  addFactored,
  addFactoredBackward,
  recordIntoBasis,
  type TrainedModule,
} from "./factored.ts";
import { addFewRows, FEW_ROWS } from "./few-rows.ts";
import type { OrderPlan } from "./flops.ts";
import { chooseOrders, type Compute, formatOrder } from "./orders.ts";
import { TrainingBases } from "./training-bases.ts";
import { workspaceSizes } from "./workspace.ts";

/** What an adapter under training is made of. */
export interface TrainedBilinearOptions {
  readonly bases: TrainingBases;
  readonly modules: readonly TrainedModule[];
  /** α/r. */
  readonly scale: number;
  readonly dropout: boolean;
  /** See `planOrders`. */
  readonly plans: readonly OrderPlan[];
}

/** A module, and how its ΔW is formed. */
type FormedModule = TrainedModule & AdaptedModule;

/** An adapter under training, ΔW = scale · B̂Ŝ(λ, γ): through W', or where that is planned through the factors. */
export class TrainedBilinear extends TrainedWeights<FormedModule, OrderPlan> {
  readonly #context: AdapterContext;

  /** @throws RandloraError `memory` */
  constructor(gpu: Device, { bases, modules, scale, dropout, plans }: TrainedBilinearOptions) {
    const sizes = workspaceSizes(
      fuse(modules).map(({ shape }) => shape),
      plans,
      {
        partBytes: (shape) => bases.partBytes(shape),
        dropout,
        panelBytes: (shape) => bases.operandBytes(shape),
      },
    );
    const workspace = new Scratch(gpu, { ...sizes });
    const context = { bases, workspace, scale };
    const formed = modules.map((module, index): FormedModule => ({
      ...module,
      index,
      form: (run, target, accumulate, from) => form(run, context, module, { target, accumulate, from }),
      fold: (run, g) => fold(run, context, module, g),
    }));
    super(gpu, formed, { plans, dropout, scratch: workspace });
    this.#context = context;
  }

  /** Is ΔW multiplied with apart from W, so that another method may have its part in the product with W? */
  get addsToOthers(): boolean {
    return [...this.matrices.values()].every(({ plan }) => plan.order === "factored");
  }

  /** @param base computes the rest in place of the plain projections; only where {@link addsToOthers} */
  override linears(masks: Masks, base?: Linears): Linears {
    if (base === undefined) return super.linears(masks);
    return {
      applyGrouped: base.applyGrouped,
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
    recordIntoBasis(run, this.#context, module, big, h);
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
    if (masks !== undefined || rowsAtMost > FEW_ROWS) {
      addFactored(run, this.#context, parts, operands, y, masks);
      return;
    }
    for (const { module, first } of parts) {
      addFewRows(run, this.#context, module, { x, rowsAtMost, y: sliceCols(y, first, module.shape.out) });
    }
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

/** An adapter before it is placed. */
export interface BilinearAdapter extends BilinearPlan {
  readonly bases: Bases;
  readonly basesFrom: BasesFrom;
}

/**
 * Writes the initial λ and γ, uploads the bases, and plans the orders of products: a method but for what it saves.
 * @throws RandloraError `memory`; `format` where the choices of a resumed run do not fit the model
 */
export async function placeBilinear(
  { gpu, parameters, tensors, place, factor = 1 }: Placement,
  { adapter: source, layers, scale, pairing, ...from }: BilinearAdapter,
  settings: { readonly compute: Compute; readonly dropout: number },
  seed: number,
): Promise<Omit<Method, "content">> {
  const bases = await TrainingBases.create(gpu, from.bases, pairing);
  await writeTrained(parameters, source, layers);
  const trained = layers.map(({ module: name, tensor, sizes: shape, tensors: { lambda, gamma } }) => {
    const [l, g] = [parameters.get(lambda.name), parameters.get(gamma.name)];
    const weight = tensors.get(tensor);
    if (weight === undefined) throw new RangeError(`${tensor} is no tensor of the decoder`);
    const gradients = { lambdaGradient: l.gradient, gammaGradient: g.gradient };
    return { name, weight, shape, lambda: l.value, gamma: g.value, ...gradients };
  });
  const plans = chooseOrders(settings, place, bases, trained);
  const dropout = settings.dropout > 0;
  const adapter = new TrainedBilinear(gpu, { bases, modules: trained, scale: scale * factor, dropout, plans });
  const masks = (pass: PassKind) => dropoutMasks(settings.dropout, seed, pass);
  return {
    choices: { orders: plans.map(formatOrder), bases: from.basesFrom },
    prepare: (run) => adapter.prepare(run),
    watched: () => [],
    linears: (pass) => adapter.linears(masks(pass)),
    over: adapter.addsToOthers ? (pass, base) => adapter.linears(masks(pass), base) : undefined,
    formed: adapter.formed,
    finish: (run) => adapter.finish(run),
  };
}
