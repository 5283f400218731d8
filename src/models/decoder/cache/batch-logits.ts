import type { Device, Range } from "../../../compute/device/device.ts";
import { OPS } from "../../../compute/tensor/ops/index.ts";
import type { Run } from "../../../compute/tensor/run.ts";
import type { Tensor } from "../../../compute/tensor/tensor.ts";
import type { BatchPass, NextToken } from "./batch-pass.ts";

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
  { logits, lse }: Pick<BatchPass, "logits" | "lse">,
  tokens: readonly BatchToken[],
): Promise<BatchLogits[]> {
  const [rows, vocabulary] = logits.shape;
  const k = Math.min(Math.max(1, ...tokens.map(({ top }) => top)), vocabulary);
  const { values, ids } = run.apply(OPS.topK, { x: logits }, { k });
  const kept = [run.keep(values), run.keep(ids)];
  const whole = ({ buffer, pitch }: Tensor): Range => ({ buffer, offset: 0, size: rows * pitch * 4 });
  const alls = tokens.flatMap(({ all }, row) => (all ? [row] : []));
  const rowsOf = alls.map((row) => ({
    buffer: logits.buffer,
    offset: row * logits.pitch * 4,
    size: vocabulary * 4,
  }));
  try {
    await run.submit();
    const ranges = [...kept.map(whole), ...(lse === undefined ? [] : [whole(lse)]), ...rowsOf];
    return await device.readWith(ranges, async (parts) => {
      const bytes = parts.map((part) => part.slice().buffer);
      const best = new Float32Array(bytes[0] ?? new ArrayBuffer(0));
      const bestIds = new Uint32Array(bytes[1] ?? new ArrayBuffer(0));
      const sums = lse && new Float32Array(bytes[2] ?? new ArrayBuffer(0));
      const read = bytes.slice(lse === undefined ? 2 : 3);
      return tokens.map(({ all }, row) => ({
        logits: best.slice(row * values.pitch, row * values.pitch + k),
        ids: bestIds.slice(row * ids.pitch, row * ids.pitch + k),
        lse: sums?.[row * (lse?.pitch ?? 0)],
        all: all ? new Float32Array(read[alls.indexOf(row)] ?? new ArrayBuffer(0)) : undefined,
      }));
    });
  } finally {
    for (const { buffer } of kept) device.memory.release(buffer);
  }
}
