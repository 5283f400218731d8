import type { Binding } from "../../device/buffer.ts";
import { BLOCK_ROWS, type Delta, type DeltaBlock, padded4 } from "../../device/families/delta.ts";
import type { Tensor } from "../../device/tensor.ts";
import { deltaKernel } from "../kernels/delta.ts";
import { PRODUCT_TILE } from "../kernels/product.ts";
import { rowBlocks } from "../bindings.ts";
import { DROPPED_BITS } from "../../random/grid.ts";
import type { Dispatcher } from "../context.ts";
import { rowsOfWork } from "../work.ts";
import { basisBlocks, drawing } from "./basis.ts";

/** A target above the binding limit, or too much work at once, is taken in blocks of rows, and so is B̂. */
export function delta(on: Dispatcher, operands: Delta): void {
  const { target, at = 0, pitch, rows, firstRow } = operands.block;
  const cols = operands.transposed ? operands.rows : operands.cols;
  const whole: Tensor = { shape: [rows, cols], dtype: "F32", buffer: target, offset: at, pitch };
  const bound = rowBlocks(on, whole)[0]?.rows ?? rows;
  const fitting = Math.min(bound, rowsOfWork(2 * cols * operands.terms, BLOCK_ROWS));
  // Blocks begin at whole tiles.
  const most = fitting >= rows ? rows : Math.max(1, Math.floor(fitting / BLOCK_ROWS)) * BLOCK_ROWS;
  for (const { first, rows: count, binding, offset } of rowBlocks(on, whole, most)) {
    block(on, operands, { ...operands.block, firstRow: firstRow + first, rows: count, at: offset }, binding);
  }
}

/** A block of rows that can be bound; B̂'s rows that meet it may be more than can be. */
function block(on: Dispatcher, operands: Delta, rows: DeltaBlock, target: Binding): void {
  const { a, b, lambda, gamma, pairing, transposed } = operands;
  const philox = b.philox ?? a.philox;
  const kernel = deltaKernel({ a: a.storage, b: b.storage, pairing });
  const [from, count] = transposed ? [0, operands.rows] : [rows.firstRow, rows.rows];
  const cols = transposed ? rows.rows : operands.cols;
  for (const part of basisBlocks(on, b, from, count)) {
    const parameters = {
      rows: part.rows,
      cols,
      terms: operands.terms,
      fastCount: operands.fastCount,
      firstRow: from + part.first,
      firstCol: transposed ? rows.firstRow : 0,
      b: part.place,
      a: [0, a.philox?.pitch ?? a.stride / 4],
      gammaPitch: padded4(operands.cols),
      targetPitch: rows.pitch,
      transposed,
      accumulate: rows.accumulate === true,
      scale: operands.scale * a.value * b.value,
      // The kernel counts rows from the first of its dispatch, but where they are columns of W from the matrix's.
      targetAt: (rows.at ?? 0) + (transposed ? 0 : part.first * rows.pitch),
      ...drawing(philox),
      dropped: DROPPED_BITS[philox?.grid ?? "f32"],
    } as const;
    const groups = [Math.ceil(cols / PRODUCT_TILE.cols), Math.ceil(part.rows / PRODUCT_TILE.rows)] as const;
    on.dispatch(
      kernel,
      parameters,
      [part, a.buffer, gamma, lambda, target],
      groups,
      2 * part.rows * cols * operands.terms,
    );
  }
}
