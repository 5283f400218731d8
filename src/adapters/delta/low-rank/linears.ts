import type { DeviceBuffer } from "../../../compute/device/device.ts";
import { addGroupedLinear } from "../../../compute/tensor/add-grouped-linear.ts";
import { OPS } from "../../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../../compute/tensor/recorder.ts";
import { sliceCols, sliceRows, type Tensor } from "../../../compute/tensor/tensor.ts";
import {
  type GroupedProjection,
  type Linears,
  PLAIN_LINEARS,
  projectGroups,
  type Projection,
} from "../../../models/blocks/linears.ts";
import { addLinear } from "../../../compute/tensor/add-linear.ts";
import { recordGemm } from "../../../compute/tensor/gemm.ts";
import { itemAt } from "../../../files/item-at.ts";
import type { ModuleShape } from "../../method/method.ts";
import { type Addend, type PassKind, type Placement, dropoutMask } from "../../method/training.ts";
import { columnsOf, type Part, partsOfMatrices } from "../parts.ts";

/** What is added to columns of the experts' products: scale · B_e (A_e x), the factors of one expert below the other's. */
export interface ExpertAddend {
  /** (experts · r, in). */
  readonly a: Tensor;
  /** (experts · out, r). */
  readonly b: Tensor;
  readonly scale: number;
  /** Of the product, a multiple of 4. */
  readonly firstColumn: number;
  readonly columns: number;
}

/**
 * Products of experts with factors beside some of their matrices.
 * @param addends by the matrix of all experts
 */
function expertProducts(
  addends: ReadonlyMap<DeviceBuffer, readonly ExpertAddend[]>,
  base: Linears | undefined,
): NonNullable<Linears["applyGrouped"]> {
  return (recorder, projection) => {
    const y = projectGroups(recorder, base, projection);
    for (const addend of addends.get(projection.weight.buffer) ?? []) add(recorder, projection, addend, y);
    return y;
  };
}

function add(
  recorder: Recorder,
  { x, begins, rowsAtMost }: GroupedProjection,
  { a, b, scale, firstColumn, columns }: ExpertAddend,
  y: Tensor,
): void {
  const { y: inner } = recorder.apply(OPS.groupedLinear, { x, weight: a, begins }, { rowsAtMost });
  const { y: scaled } = recorder.apply(OPS.scale, { x: inner }, { factor: scale });
  recorder.release(inner);
  const part = columns === y.shape[1] ? y : sliceCols(y, firstColumn, columns);
  addGroupedLinear(recorder, { x: scaled, weight: b, begins, rowsAtMost }, part);
  recorder.release(scaled);
}

/** What one module adds to its output: scale · B (A x), A (r, in), B (out, r). */
export interface TrainedFactors {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly scale: number;
  /** Tells the dropout masks of modules apart. */
  readonly index: number;
}

/** How the factors' input is dropped. */
export interface LowRankMode {
  readonly dropout: number;
  /** Of the masks. */
  readonly seed: number;
  /** Dropout masks of the first so many modules are another method's; 0 by default. */
  readonly otherMasks?: number;
}

/** A module with factors beside it. */
export interface FactoredLayer {
  /** As adapters name it. */
  readonly module: string;
  /** Its weight in the checkpoint. */
  readonly tensor: string;
  /** Of B·A. */
  readonly scale: number;
}

/**
 * What of a method does not depend on where its factors come from, and whether they are trained.
 * @param factors one pair a layer, in their order
 * @param experts those of experts' matrices, by the matrix of all
 */
export function lowRankMethod(
  weights: Placement["tensors"],
  layers: readonly FactoredLayer[],
  factors: readonly Pick<TrainedFactors, "a" | "b">[],
  { dropout, seed, otherMasks = 0 }: LowRankMode,
  experts: ReadonlyMap<DeviceBuffer, readonly ExpertAddend[]> = new Map(),
): Pick<Addend, "choices" | "prepare" | "linears" | "over" | "formed" | "finish"> {
  const placed = new Map(
    layers.map(({ tensor, scale }, at) => {
      return [tensor.slice(0, -".weight".length), { ...itemAt(factors, at), scale, index: otherMasks + at }] as const;
    }),
  );
  const matrices = partsOfMatrices(weights);
  const linears = (pass: PassKind, base?: Linears) =>
    new LowRankLinears(matrices, placed, { dropout, seed, pass }, base, experts);
  return {
    choices: {},
    prepare() {},
    linears: (pass) => linears(pass),
    over: linears,
    formed: {
      held: () => undefined,
      record(run, module, first, target) {
        const index = layers.findIndex((layer) => layer.module === module);
        const { a, b } = itemAt(factors, index);
        const rows = sliceRows(b, first, target.shape[0]);
        recordGemm(run, { order: "NN", a: rows, b: a, y: target, scale: layers[index]?.scale });
      },
    },
    finish() {},
  };
}

/** Floating-point operations of a step with two factors beside each frozen matrix: y, ∂loss/∂x, and the factors' gradients. */
export function lowRankFlops(modules: readonly ModuleShape[], rank: number, tokens: number): number {
  return modules.reduce((sum, { out, in: input }) => sum + 6 * tokens * rank * (out + input), 0);
}

/** The same in one pass. */
interface PassMode extends Omit<LowRankMode, "otherMasks"> {
  readonly pass: PassKind;
}

/**
 * The decoder's projections with factors beside some of them: y = x Wᵀ + bias + residual + scale · B (A drop(x)). Where
 * another method has its part in x Wᵀ (`base`), the factors' is added to what that computes.
 */
export class LowRankLinears implements Linears {
  readonly #matrices: ReadonlyMap<DeviceBuffer, readonly Part[]>;
  readonly #factors: ReadonlyMap<string, TrainedFactors>;
  readonly #mode: PassMode;
  readonly #base: Linears | undefined;
  readonly applyGrouped: Linears["applyGrouped"];

  constructor(
    matrices: ReadonlyMap<DeviceBuffer, readonly Part[]>,
    factors: ReadonlyMap<string, TrainedFactors>,
    mode: PassMode,
    base?: Linears,
    experts: ReadonlyMap<DeviceBuffer, readonly ExpertAddend[]> = new Map(),
  ) {
    this.applyGrouped = expertProducts(experts, base);
    this.#matrices = matrices;
    this.#factors = factors;
    this.#mode = mode;
    this.#base = base;
  }

  apply(recorder: Recorder, inputs: Projection): Tensor {
    const { x, weight } = inputs;
    const parts = this.#matrices.get(weight.buffer) ?? [];
    if (this.#base !== undefined) return this.#over(this.#base, recorder, inputs, parts);
    if (!parts.some(({ module }) => this.#factors.has(module))) return PLAIN_LINEARS.apply(recorder, inputs);
    if (parts.length === 1) return this.#adapted(recorder, inputs, parts[0]?.module ?? "");
    const y = recorder.allocate("low-rank.y", [x.shape[0], weight.shape[0]]);
    for (const part of parts) {
      const own = {
        x,
        weight: part.weight,
        bias: inputs.bias && columnsOf(inputs.bias, part),
        residual: inputs.residual && columnsOf(inputs.residual, part),
        rowsAtMost: inputs.rowsAtMost,
      };
      this.#adapted(recorder, own, part.module, columnsOf(y, part));
    }
    return y;
  }

  /** What `base` computes of a whole matrix, and what the factors add to the columns of their modules. */
  #over(base: Linears, recorder: Recorder, inputs: Projection, parts: readonly Part[]): Tensor {
    const y = base.apply(recorder, inputs);
    for (const part of parts) {
      const factors = this.#factors.get(part.module);
      if (factors === undefined) continue;
      const inner = this.#inner(recorder, inputs, factors);
      addLinear(recorder, { x: inner, weight: factors.b, scale: factors.scale }, columnsOf(y, part));
      recorder.release(inner);
    }
    return y;
  }

  /** One module: y = W x + bias + residual, and with factors + scale · B (A x). */
  #adapted(recorder: Recorder, inputs: Projection, module: string, into?: Tensor): Tensor {
    const target = into === undefined ? {} : { y: into };
    const factors = this.#factors.get(module);
    const { rowsAtMost, ...operands } = inputs;
    if (factors === undefined) return recorder.apply(OPS.linear, operands, { rowsAtMost }, target).y;
    const { scale } = factors;
    const { y: base } = recorder.apply(OPS.linear, operands, { rowsAtMost });
    const inner = this.#inner(recorder, inputs, factors);
    const outer = { x: inner, weight: factors.b, bias: undefined, residual: base };
    const { y } = recorder.apply(OPS.linear, outer, { scale, rowsAtMost }, target);
    recorder.release(inner, base);
    return y;
  }

  /** A drop(x). */
  #inner(
    recorder: Recorder,
    { x: input, rowsAtMost }: Pick<Projection, "x" | "rowsAtMost">,
    { a, index }: TrainedFactors,
  ): Tensor {
    const { dropout, seed, pass } = this.#mode;
    let x = input;
    if (dropout > 0 && pass.kind === "train") {
      ({ y: x } = recorder.apply(OPS.dropout, { x }, dropoutMask(dropout, seed, pass, index)));
    }
    const { y } = recorder.apply(OPS.linear, { x, weight: a, bias: undefined, residual: undefined }, { rowsAtMost });
    if (x !== input) recorder.release(x);
    return y;
  }
}
