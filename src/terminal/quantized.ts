import type { BlocksName } from "../compute/device/dtype.ts";
import { formatBytes } from "./format.ts";

/** Weights in quantized blocks: their bytes in memory, and those of the same tensors in the checkpoint. */
interface Quantized {
  readonly dtype: string;
  readonly bytes: number;
  readonly stored: number;
}

/**
 * What quantized weights add to a command's JSON.
 * @json several
 */
export interface QuantizedJson {
  /** With --quantize, and of quantized files. */
  readonly quantized?: {
    /** Q8_0, Q4_0, Q6_K or MXFP4. */
    readonly format: string;
    /** In device memory. */
    readonly bytes: number;
    /** Of the same weights in the checkpoint. */
    readonly stored_bytes: number;
  };
}

/** The quantized weights, for `--json`; nothing where none are. */
export function quantizedJson(quantized: Quantized | undefined): QuantizedJson {
  if (quantized === undefined) return {};
  const { dtype, bytes, stored } = quantized;
  return { quantized: { format: dtype, bytes, stored_bytes: stored } };
}

/** The same in words: `1.2 MB in Q8_0 (2.2 MB as stored)`; `1.2 MB in Q8_0, as stored` of a file that has the blocks. */
export function quantizedText({ dtype, bytes, stored }: Quantized): string {
  const before = bytes === stored ? ", as stored" : ` (${formatBytes(stored)} as stored)`;
  return `${formatBytes(bytes)} in ${dtype}${before}`;
}

/** For the user, where quantization was asked for and no layer could be quantized. */
export function notesOfBlocks(asked: BlocksName | null | undefined, quantized: Quantized | undefined): string[] {
  if ((asked ?? null) === null || quantized !== undefined) return [];
  return [`--quantize ${asked}: no layer's rows are whole blocks of 32 numbers: all stays as stored`];
}
