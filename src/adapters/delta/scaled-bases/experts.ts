import type { Device } from "../../../compute/device/device.ts";
import { recordCopy } from "../../../compute/tensor/elementwise.ts";
import type { Run } from "../../../compute/tensor/run.ts";
import { sliceCols, sliceRows, type Tensor } from "../../../compute/tensor/tensor.ts";
import { itemAt } from "../../../files/item-at.ts";
import type { GroupedProjection } from "../../../models/blocks/linears.ts";
import { putPairs, takePairs } from "../../../models/blocks/row-linears.ts";
import type { FusedPart } from "../through-weights/fused.ts";
import type { AdapterContext, TrainedModule } from "./factored.ts";
import { type AdaptedRow, addFewRows } from "./few-rows.ts";
import { addScaledRows } from "./scaled-rows.ts";
import { stackedCommands, stackedFactors } from "./stacked-factors.ts";

/** Bytes of γ that are copied to rows at a time, where those of a token do not take more. */
const GAMMA_BYTES = 32 * 2 ** 20;

/** The same module of each expert. */
export interface ExpertModules {
  readonly shape: TrainedModule["shape"];
  /** Its first column of an expert's product. */
  readonly column: number;
  /** λ and γ of an expert in each row, with the elements between rows of theirs; zeros where an expert is not adapted. */
  readonly lambda: StackedRows;
  readonly gamma: StackedRows;
}

interface StackedRows {
  readonly tensor: Tensor;
  /** What is copied there once parameters are known: none where they lie so themselves. */
  readonly copies: readonly { readonly from: Tensor; readonly to: Tensor }[];
}

/** @param parts of a matrix of so many experts. @throws RandloraError `memory` */
export function modulesOfExperts(
  gpu: Device,
  rows: number,
  experts: number,
  parts: readonly FusedPart<TrainedModule>[],
): ExpertModules[] {
  const each = rows / experts;
  return [...Map.groupBy(parts, ({ first }) => first % each)].map(([column, own]) => {
    const byExpert = new Map(own.map(({ module, first }) => [Math.floor(first / each), module]));
    const modules = Array.from({ length: experts }, (_, expert) => byExpert.get(expert));
    const stack = (name: "lambda" | "gamma") =>
      stackRows(
        gpu,
        name,
        modules.map((module) => module?.[name]),
      );
    return { shape: itemAt(own, 0).module.shape, column, lambda: stack("lambda"), gamma: stack("gamma") };
  });
}

/** Records what has to be copied of λ and γ. */
export function prepareExperts(run: Run, { lambda, gamma }: ExpertModules): void {
  for (const { from, to } of [...lambda.copies, ...gamma.copies]) {
    recordCopy(run, from, to);
  }
}

/** Records y += x ΔWᵀ of rows of experts: each goes through λ and γ of its own, so that no other expert takes time. */
export function addOfExperts(
  run: Run,
  context: AdapterContext,
  modules: readonly ExpertModules[],
  { x, ids, places, rowsAtMost = x.shape[0] }: Omit<GroupedProjection, "weight" | "begins">,
  y: Tensor,
): void {
  const [tokens, chosen] = ids.shape;
  for (const { shape, column, lambda, gamma } of modules) {
    const columns = sliceCols(y, column, shape.out);
    const most = Math.max(1, Math.floor(GAMMA_BYTES / (4 * gamma.tensor.shape[1] * chosen)));
    for (let first = 0; first < tokens; first += most) {
      const count = Math.min(most, tokens - first);
      const [experts, own] = [sliceRows(ids, first, count), sliceRows(places, first, count)];
      const [input, sum] = [takePairs(run, x, own), takePairs(run, columns, own)];
      const [l, g] = [takePairs(run, lambda.tensor, experts), takePairs(run, gamma.tensor, experts)];
      const some = { x: input, y: sum, rowsAtMost };
      if (2 * count * chosen > stackedCommands(context, shape)) {
        addScaledRows(run, context, shape, stackedFactors(context, shape, { lambda: l, gamma: g }), some);
      } else addFewRows(run, rowsOf(context, shape, l, g), some);
      putPairs(run, sum, own, columns);
      run.release(input, sum, l, g);
    }
  }
}

/** A token alone takes fewer commands row by row. */
function rowsOf(context: AdapterContext, shape: TrainedModule["shape"], lambda: Tensor, gamma: Tensor): AdaptedRow[] {
  const { r, bases, cols } = shape;
  return Array.from({ length: lambda.shape[0] }, (_, row) => ({
    row,
    column: 0,
    shape,
    context,
    lambda: unstacked(sliceRows(lambda, row, 1), [r, bases]),
    gamma: unstacked(sliceRows(gamma, row, 1), [bases, cols]),
  }));
}

function stackRows(gpu: Device, name: string, tensors: readonly (Tensor | undefined)[]): StackedRows {
  const [one] = tensors.filter((tensor) => tensor !== undefined);
  if (one === undefined) throw new RangeError("no expert is adapted");
  const width = one.shape[0] * one.pitch;
  const [first, second] = tensors;
  const pitch = first && second ? second.offset - first.offset : width;
  const isRegular = tensors.every(
    (tensor, at) => tensor && tensor.buffer === first?.buffer && tensor.offset === first.offset + at * pitch,
  );
  if (isRegular && pitch >= width) return { tensor: { ...one, shape: [tensors.length, width], pitch }, copies: [] };
  const buffer = gpu.memory.allocate(`${name} of experts`, tensors.length * width * 4);
  gpu.clear([buffer]);
  const all: Tensor = { buffer, dtype: "F32", shape: [tensors.length, width], offset: 0, pitch: width };
  const copies = tensors.flatMap((tensor, at) => {
    return tensor === undefined ? [] : [{ from: { ...tensor, shape: [1, width] as const }, to: sliceRows(all, at, 1) }];
  });
  return { tensor: all, copies };
}

/** A row of a stack as the matrix that it holds. */
function unstacked(row: Tensor, shape: Tensor["shape"]): Tensor {
  return { ...row, shape, pitch: row.shape[1] / shape[0] };
}
