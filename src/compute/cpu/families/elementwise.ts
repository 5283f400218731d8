import type { Elementwise } from "../../device/families/elementwise.ts";
import { COLUMNS, type RowKernel } from "../../rows/language.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { type CpuKernel, cpuKernel, type Members } from "../parameters.ts";
import { RECTANGLES, rectangles } from "../pieces.ts";
import { columnsOf } from "../../device/families/elementwise.ts";

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
    segments: "u32",
    /** Of a segment. */
    cols: "u32",
    ...Object.fromEntries(operands.map((operand) => [operand, operand in targets ? "target" : "matrix"] as const)),
    ...Object.fromEntries(parameters.map((parameter) => [parameter, "f32"] as const)),
  });

/** Machine code where there is some, which has the same bits. */
export function elementwise(on: Dispatcher, { kernel: rows, tensors, numbers = {} }: Elementwise): void {
  const kernel = cpuRows(rows);
  const [shape = [0, 0]] = Object.keys(rows.targets).map((target) => tensors[target]?.shape);
  const cols = columnsOf(rows, tensors);
  const segments = shape[1] / cols;
  const { words, count } = rectangles(shape, rows.sums || segments > 1);
  on.dispatch(on.chosen(kernel), { ...tensors, ...numbers, [COLUMNS]: cols, ...words, segments, cols }, count);
}
