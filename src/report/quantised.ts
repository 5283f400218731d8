import type { Quantised } from "../models/placed-weights.ts";
import { formatBytes } from "../terminal/format.ts";

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
