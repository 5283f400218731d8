import type { ColumnSums } from "../../device/families/elementwise.ts";
import { giveScratch, takeScratch } from "../../device/scratch.ts";
import type { Dispatcher } from "../context.ts";
import columnSumsText from "../kernels/column-sums.wgsl" with { type: "text" };
import { gpuKernels } from "../kernels/family.ts";

/** Terms of one sum at most. */
const MOST_TERMS = 256;
/** Terms of a partial sum where there are several: few, so that all of a GPU has work. */
const BLOCK = 64;
/** Vectors of 4 columns that one workgroup handles. */
const WIDTH = 64;

/** Sums down the columns of blocks of rows. */
const KERNEL = gpuKernels("column-sums", columnSumsText, {
  parameters: {
    width: "u32", // vectors of 4 in a segment
    rows: "u32", // with segments counted as rows
    segments: "u32", // in a row of a and b
    block: "u32", // rows of a block, at most 256
    product: "flag", // with b
    a: "vectors",
    b: "vectors",
    y: "vectors",
  },
  bindings: ["a", "b?", "y"],
})();

export function columnSums(on: Dispatcher, { a, times: b, segments = 1, y }: ColumnSums): void {
  const cols = y.shape[1];
  const rows = a.shape[0] * segments;
  const last = rows <= MOST_TERMS;
  const block = last ? MOST_TERMS : BLOCK;
  const blocks = Math.ceil(rows / block);
  const width = Math.ceil(cols / 4);
  const sums = last ? y : takeScratch(on, "column sums", [blocks, cols]);
  const values = { width, rows, segments, block, product: b !== undefined, a, b, y: sums };
  on.run(KERNEL, values, [Math.ceil(width / WIDTH), blocks]);
  if (last) return;
  columnSums(on, { a: sums, y });
  giveScratch(on, sums);
}
