import { DTYPE_CODES } from "../../device/dtype.ts";
import type { DeltaBasis } from "../../device/families/delta.ts";
import { DROPPED_BITS } from "../../random/grid.ts";
import { NAMED_DTYPES } from "../../../files/safetensors/dtype.ts";
import { bound } from "../operands.ts";
import type { Values } from "../parameters.ts";

/** A basis as kernels get it; its members are a part of theirs. */
export const BASIS = {
  /** A format of numbers; 3 two-bit codes; drawn: 4 dense, 5 dense in units of 2b − 255, 6 sparse, 7 very sparse. */
  storage: "u32",
  at: "pointer",
  /** Bytes from row to row. */
  rowBytes: "u32",
  /** Elements from row to row in the order of drawing. */
  drawn: "u32",
  stream: "u32",
  keyLow: "u32",
  keyHigh: "u32",
  /** Very sparse. */
  threshold: "u32",
  /** Dense: bits of f32 that the grid of the elements lacks. */
  dropped: "u32",
} as const;

/** How two-bit codes, and elements that are drawn, are named there. */
export const CODES = 3;
export const DRAWN = { dense: 4, sparse: 6, "very-sparse": 7 } as const;
/** Dense draws in units of 2b − 255. */
export const DRAWN_UNITS = 5;

/** A basis as kernels get it. */
export function basisValues({ buffer, storage, stride, philox }: DeltaBasis): Values<typeof BASIS> {
  const at = bound(buffer);
  const stored = { at, drawn: 0, stream: 0, keyLow: 0, keyHigh: 0, threshold: 0, dropped: 0 };
  if (storage === "ternary") return { ...stored, storage: CODES, rowBytes: stride / 4 };
  if (storage !== "philox") {
    return {
      ...stored,
      storage: DTYPE_CODES[NAMED_DTYPES[storage]],
      rowBytes: stride * (storage === "f32" ? 4 : 2),
    };
  }
  if (philox === undefined) throw new Error(`${buffer.label}: nothing says how it is drawn`);
  const [keyLow, keyHigh] = philox.key;
  return {
    storage: DRAWN[philox.sparsity],
    at,
    rowBytes: 0,
    drawn: philox.pitch,
    stream: philox.stream,
    keyLow,
    keyHigh,
    threshold: philox.threshold,
    dropped: DROPPED_BITS[philox.grid],
  };
}
