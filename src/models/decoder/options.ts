import type { KvDtype } from "../../compute/device/dtype.ts";
import type { WeightOptions } from "../weight-format.ts";

/** How a decoder is loaded. */
export interface LoadOptions extends Pick<WeightOptions, "dtype" | "quantize"> {
  /** What keys and values are held in; F32 by default. */
  readonly kvDtype?: KvDtype | undefined;
  /** Told the bytes of the checkpoint as they are read; `total` beforehand. */
  readonly onProgress?: (read: number, total: number) => void;
  readonly signal?: AbortSignal;
}

/** How a prompt is taken. */
export interface PrefillOptions {
  /** Tokens of one pass. */
  readonly block?: number;
  /** Tokens of the whole sequence, where more of it is to come: RoPE that depends on the length goes by it. */
  readonly sequenceLength?: number;
  readonly signal?: AbortSignal;
}
