import type { Device } from "../../../compute/device/device.ts";
import { OPS } from "../../../compute/tensor/ops/index.ts";
import type { Run } from "../../../compute/tensor/run.ts";
import { readMatrices } from "../../../compute/tensor/read-rows.ts";
import { sliceRows, type Tensor } from "../../../compute/tensor/tensor.ts";
import { itemAt } from "../../../files/item-at.ts";
import type { NextToken } from "./batch-pass.ts";

/** A sequence that goes on with a token, and what is to be known of the one after it. */
export interface BatchToken extends NextToken {
  /** The best so many. */
  readonly top: number;
  /** The logits of all. */
  readonly all: boolean;
  /** log Σ exp(logits). */
  readonly lse: boolean;
}

/** What follows on a token. */
export interface BatchLogits {
  /** The best tokens and their logits, best first: at least as many as were asked for. */
  readonly ids: Uint32Array;
  readonly logits: Float32Array;
  readonly all: Float32Array<ArrayBuffer> | undefined;
  readonly lse: number | undefined;
}

/**
 * Reads what follows on the tokens of a pass that was sent, in their order.
 * @throws RandloraError `memory`, `gpu`
 */
export async function readLogits(
  device: Device,
  run: Run,
  logits: Tensor,
  lse: Tensor | undefined,
  tokens: readonly BatchToken[],
): Promise<BatchLogits[]> {
  const vocabulary = logits.shape[1];
  const k = Math.min(Math.max(1, ...tokens.map(({ top }) => top)), vocabulary);
  const { values, ids } = run.apply(OPS.topK, { x: logits }, { k });
  const kept = [run.keep(values), run.keep(ids)];
  const alls = tokens.flatMap(({ all }, row) => (all ? [row] : []));
  const whole = alls.map((row) => sliceRows(logits, row, 1));
  try {
    await run.submit();
    const read = await readMatrices(device, [...kept, ...whole, ...(lse === undefined ? [] : [lse])]);
    const numbers = (at: number) => new Float32Array(itemAt(read, at).buffer);
    const [best, bestIds, sums] = [numbers(0), itemAt(read, 1), lse && numbers(2 + alls.length)];
    return tokens.map(({ all }, row) => ({
      logits: best.slice(row * k, (row + 1) * k),
      ids: bestIds.slice(row * k, (row + 1) * k),
      lse: sums?.[row],
      all: all ? numbers(2 + alls.indexOf(row)) : undefined,
    }));
  } finally {
    for (const { buffer } of kept) device.memory.release(buffer);
  }
}
