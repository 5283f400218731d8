import { readRows } from "../../compute/tensor/read-rows.ts";
import { sliceRows, type Tensor } from "../../compute/tensor/tensor.ts";
import { itemAt } from "../../files/item-at.ts";
import type { KvCache } from "../decoder/cache/slot-pool.ts";
import type { Decoder, PrefillOptions } from "../decoder/decoder.ts";
import { recordLogits } from "../decoder/forward.ts";

/**
 * The logits after some tokens.
 * @param cache what comes before them, which they join; by default nothing
 * @throws as `Decoder.passes`
 */
export async function logitsAfter(
  decoder: Decoder,
  ids: readonly number[],
  cache?: KvCache,
  options: PrefillOptions = {},
): Promise<Float32Array<ArrayBuffer>> {
  using own = cache === undefined ? decoder.createCache() : undefined;
  const into = cache ?? own;
  if (into === undefined) throw new Error("no cache");
  const { gpu, config, weights } = decoder;
  const kept: Tensor[] = [];
  try {
    await decoder.passes(into, ids, options, (run, hidden, first) => {
      const [rows] = hidden.shape;
      if (first + rows < ids.length) return;
      kept.push(run.keep(recordLogits(run, config, weights, sliceRows(hidden, rows - 1, 1))));
    });
    return await readRows(gpu, itemAt(kept, 0), 0, 1);
  } finally {
    for (const { buffer } of kept) gpu.memory.release(buffer);
  }
}

/** The k best next tokens, best first, and their logits. */
export function bestOf(logits: Float32Array, k: number): { readonly ids: number[]; readonly logits: number[] } {
  const ids = Array.from(logits.keys()).toSorted((one, other) => itemAt(logits, other) - itemAt(logits, one));
  const best = ids.slice(0, k);
  return { ids: best, logits: best.map((id) => itemAt(logits, id)) };
}
