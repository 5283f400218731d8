import type { ColumnSums } from "../device/families/elementwise.ts";
import type { Run } from "./run.ts";

/** Records sums down columns: the gradient of what is added to every row, or multiplies it. */
export function recordColumnSums(run: Run, sums: ColumnSums): void {
  run.compute("columnSums", sums);
}
