import { STORED_DTYPES, type StoredDtype } from "../../device/dtype.ts";
import { OPS } from "../ops/index.ts";
import { tensorBytes } from "../tensor.ts";
import { linearCase } from "./build-cases.ts";
import { ids, random } from "./case.ts";
import type { Visit } from "./every-op.ts";

/** So few that a binding holds 32 rows, of which kernels take whole blocks. */
const COLS = 64;

/**
 * Visits ops with matrices that are somewhat larger than a binding may be, so that a device takes them in blocks of rows.
 * @param binding bytes of the largest binding: 16 KiB or more
 */
export function visitLargeOps(binding: number, visit: Visit): void {
  const rowsOf = (dtype: StoredDtype) => Math.floor(binding / tensorBytes([1, COLS], dtype)) + 37;
  const rows = rowsOf("F32");
  /** The same row twice, and rows on both sides of a block's end. */
  const places = ids(rows - 1, 0, rows - 1, rows - 40);
  // One after another: what a case holds is large.
  for (const dtype of STORED_DTYPES) visit(OPS.linear, [linearCase(3, COLS, rowsOf(dtype), dtype)]);
  visit(OPS.embedding, [
    { name: "rows at both ends", inputs: { ids: places, table: random(rows, COLS) }, attributes: { scale: 2 } },
  ]);
  const begins = [0, 3, rows - 20, rows];
  visit(OPS.groupBias, [
    {
      name: "groups on both sides of a block's end",
      inputs: { x: random(rows, COLS), bias: random(1, 3 * COLS), begins: ids(...begins) },
      attributes: {},
    },
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
