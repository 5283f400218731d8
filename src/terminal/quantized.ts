import type { BlockDtype, BlocksName } from "../compute/device/dtype.ts";
import { formatBytes } from "./format.ts";

/** Weights in quantized blocks: their bytes in memory, and those of the same tensors in the checkpoint. */
interface Quantised {
  readonly dtype: BlockDtype;
  readonly bytes: number;
  readonly stored: number;
}

/** What is held in blocks, for `--json`; nothing where nothing is. */
export function quantisedJson(quantised: Quantised | undefined): object {
  if (quantised === undefined) return {};
  const { dtype, bytes, stored } = quantised;
  return { quantized: { format: dtype, bytes, stored_bytes: stored } };
}

/** The same in words: `1.2 MB in Q8_0 (2.2 MB as stored)`. */
export function quantisedText({ dtype, bytes, stored }: Quantised): string {
  return `${formatBytes(bytes)} in ${dtype} (${formatBytes(stored)} as stored)`;
}

/** For the user, where blocks were asked for and no layer could be held in them. */
export function notesOfBlocks(asked: BlocksName | null | undefined, quantised: Quantised | undefined): string[] {
  if ((asked ?? null) === null || quantised !== undefined) return [];
  return [`--quantize ${asked}: no layer's rows are whole blocks of 32 numbers: all stays as stored`];
}
