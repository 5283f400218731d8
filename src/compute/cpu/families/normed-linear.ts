import type { NormedLinear } from "../../device/families/products.ts";
import { normedInCommands } from "../../device/normed-linear.ts";
import { pitchOf } from "../../device/tensor.ts";
import { gatedActivation, gateNumber } from "../../rows/gates.ts";
import type { RowKernel } from "../../rows/language.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { pitchBytes, storedCode } from "../operands.ts";
import { cpuKernel } from "../parameters.ts";
import { pieceColumns } from "../pieces.ts";
import { cpuRows, elementwise } from "./elementwise.ts";
import { fewColumns, HALF_TILE, GEMM, linear, matricesOf } from "./gemm.ts";

/** y = norm(a) · bᵀ + bias; all rows are one piece high. */
export const NORMED_GEMM = cpuKernel("normedGemm", {
  ...GEMM.members,
  weight: "row",
  offset: "f32",
  epsilon: "f32",
  /** a + norm(branch) takes the place of a, and is stored as `sum`; or nothing. */
  branch: "matrix",
  branchWeight: "row",
  sum: "target",
  /** 0, or the number of an activation f, from 1 on: y = f(product) · that with the `cols` rows of b behind. */
  gate: "u32",
});

/** The row kernel of a gate. */
export const gateOf = (gate: number): RowKernel => gatedActivation.kernel(gatedActivation.kinds?.[gate - 1]);

/** Rows of x at most. */
const MOST_ROWS = 32;
/** Numbers that are to be gated, for which a worker has room: behind them lie those of formats that no routine reads (`product.ts`). */
const MOST_GATED = 2 ** 15 - 64;
/** Numbers of the rows that a worker has room for: half of its scratch. */
const MOST_NUMBERS = 2 ** 17;

/**
 * Each worker normalizes a few rows for itself, which takes less than waiting for one that does it for all. Many rows
 * are normalized by a command of their own: the same bits.
 */
export function normedLinear(on: Dispatcher, operands: NormedLinear): void {
  const { x, norm, weight, bias, gate, y } = operands;
  const [rows, terms] = x.shape;
  if (rows > MOST_ROWS || rows * pitchOf(terms, "F32") > MOST_NUMBERS) {
    normedInCommands(on, { elementwise, linear }, operands);
    return;
  }
  const { branch } = norm;
  const cols = y.shape[1];
  const rowBytes = pitchBytes(weight);
  const room = Math.floor(MOST_GATED / 2 / rows / HALF_TILE) * HALF_TILE;
  const most = gate === undefined ? fewColumns(rowBytes) : Math.min(fewColumns(2 * rowBytes), room);
  const pieceCols = pieceColumns(cols, most, on.threads, HALF_TILE);
  const pieces = Math.ceil(cols / pieceCols);
  // It calls the gate's routine of its own code.
  const isGated = gate === undefined || on.has(cpuRows(gatedActivation.kernel(gate)));
  on.dispatch(
    isGated ? on.chosen(NORMED_GEMM, storedCode("normed linear", weight)) : NORMED_GEMM,
    {
      ...matricesOf({ order: "NT", a: x, b: weight, y }),
      rows,
      bias,
      residual: undefined,
      accumulate: false,
      scale: 1,
      pieceRows: rows,
      pieceCols,
      pieces,
      weight: norm.weight,
      offset: norm.offset,
      epsilon: norm.epsilon,
      branch: branch?.x,
      branchWeight: branch?.weight,
      sum: branch?.sum,
      gate: gate === undefined ? 0 : gateNumber(gate) + 1,
    },
    pieces,
  );
}
