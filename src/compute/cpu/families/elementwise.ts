import type { Elementwise } from "../../device/families/elementwise.ts";
import type { Tensor } from "../../device/tensor.ts";
import type { RowKernel } from "../../rows/language.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { type CpuKernel, cpuKernel, type Members } from "../parameters.ts";
import { RECTANGLES, rectangles } from "../pieces.ts";

const known = new Map<RowKernel, CpuKernel<Members>>();

/** What a row kernel takes, by the names of its operands and parameters. */
export function cpuRows(rows: RowKernel): CpuKernel<Members> {
  const found = known.get(rows) ?? made(rows);
  known.set(rows, found);
  return found;
}

const made = ({ name, targets, operands, parameters }: RowKernel): CpuKernel<Members> =>
  cpuKernel(name, {
    ...RECTANGLES,
    ...Object.fromEntries(operands.map((operand) => [operand, operand in targets ? "target" : "matrix"] as const)),
    ...Object.fromEntries(parameters.map((parameter) => [parameter, "f32"] as const)),
  });

/** Machine code where there is some, which has the same bits. */
export function elementwise(on: Dispatcher, { kernel: rows, tensors, number = 1 }: Elementwise): void {
  const kernel = cpuRows(rows);
  const shape = Object.keys(rows.targets).map((target) => tensors[target]?.shape)[0] ?? [0, 0];
  const { words, count } = rectangles(shape);
  const numbers = Object.fromEntries(rows.parameters.map((parameter) => [parameter, number]));
  const given: Record<string, Tensor | number | undefined> = { ...tensors, ...numbers, ...words };
  for (const operand of rows.shared) given[operand] = tensors[operand] && { ...tensors[operand], pitch: 0 };
  on.dispatch(on.chosen(kernel), given, count);
}
