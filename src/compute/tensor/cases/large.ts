import { BLOCKS_NAMES, DTYPE_CODES, NAMED_BLOCKS, type StoredDtype } from "../../device/dtype.ts";
import { OPS } from "../ops/index.ts";
import { tensorBytes } from "../tensor.ts";
import { linearCase } from "./build-cases.ts";
import { ids, random } from "./case.ts";
import type { Visit } from "./every-op.ts";

const COLS = 1024;
const FORMATS: readonly StoredDtype[] = [
  ...(["F32", "F16", "BF16"] as const satisfies readonly (keyof typeof DTYPE_CODES)[]),
  ...BLOCKS_NAMES.map((name) => NAMED_BLOCKS[name]),
];

/**
 * Visits ops with matrices that are somewhat larger than a binding may be, so that a device takes them in blocks of rows.
 * @param binding bytes of the largest binding
 */
export function visitLargeOps(binding: number, visit: Visit): void {
  const rowsOf = (dtype: StoredDtype) => Math.floor(binding / tensorBytes([1, COLS], dtype)) + 37;
  const rows = rowsOf("F32");
  /** The same row twice, and rows on both sides of a block's end. */
  const places = ids(rows - 1, 0, rows - 1, rows - 40);
  // One after another: what a case holds is large.
  for (const dtype of FORMATS) visit(OPS.linear, [linearCase(3, COLS, rowsOf(dtype), dtype)]);
  visit(OPS.embedding, [
    { name: "rows at both ends", inputs: { ids: places, table: random(rows, COLS) }, attributes: { scale: 2 } },
  ]);
  const [x, weight] = [random(4, COLS), random(rows, COLS, "F32", 1 / Math.sqrt(COLS))];
  visit(OPS.nll, [
    {
      name: "targets at both ends",
      inputs: { x, weight, bias: undefined, targets: places },
      attributes: { softcap: undefined },
    },
  ]);
}
