/*
 * GGUF, version 3 (ggml-org/ggml, docs/gguf.md), little-endian: "GGUF", u32 3, u64 tensors, u64 key-value pairs; the pairs;
 * of each tensor name, sizes (the fastest first), type and offset; zeros up to a multiple of the alignment; the tensors,
 * each padded to it.
 */

export const GGUF_MAGIC = 0x46554747;
export const GGUF_VERSION = 3;
/** `general.alignment` where a file does not say otherwise. */
export const GGUF_ALIGNMENT = 32;

/** Does a name say that a file is GGUF? */
export function isGgufName(path: string): boolean {
  return /\.gguf$/i.test(path);
}

/** Tensor types that this program reads and writes: ggml.h's number, and bytes of so many elements. */
export const GGUF_TYPES = {
  F32: { code: 0, bytes: 4, elements: 1 },
  F16: { code: 1, bytes: 2, elements: 1 },
  Q4_0: { code: 2, bytes: 18, elements: 32 },
  Q8_0: { code: 8, bytes: 34, elements: 32 },
  Q6_K: { code: 14, bytes: 210, elements: 256 },
  BF16: { code: 30, bytes: 2, elements: 1 },
  MXFP4: { code: 39, bytes: 17, elements: 32 },
} as const;
export type GgufType = keyof typeof GGUF_TYPES;
/** Those that hold blocks of numbers with scales; Q6_K and MXFP4 are only read. */
export type GgufBlocks = "Q8_0" | "Q4_0" | "Q6_K" | "MXFP4";

/** A tensor of a GGUF file. */
export interface GgufTensor {
  readonly name: string;
  readonly type: GgufType;
  /** Sizes of the dimensions, outermost first: the file has them the other way round. */
  readonly shape: readonly number[];
}

/** Value types of the metadata, by the format's numbers. */
export const GGUF_VALUE_KINDS = {
  u8: 0,
  i8: 1,
  u16: 2,
  i16: 3,
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  string: 8,
  array: 9,
  u64: 10,
  i64: 11,
  f64: 12,
} as const;
export type GgufValueKind = keyof typeof GGUF_VALUE_KINDS;

/** Bytes of a value of a fixed size. */
export const GGUF_VALUE_BYTES = {
  u8: 1,
  i8: 1,
  u16: 2,
  i16: 2,
  u32: 4,
  i32: 4,
  f32: 4,
  bool: 1,
  u64: 8,
  i64: 8,
  f64: 8,
} as const;

/** A value of the metadata. */
export type GgufValue =
  | { readonly kind: Exclude<GgufValueKind, "bool" | "string" | "array">; readonly value: number }
  | { readonly kind: "bool"; readonly value: boolean }
  | { readonly kind: "string"; readonly value: string }
  | { readonly kind: "array"; readonly of: "string"; readonly value: readonly string[] }
  | { readonly kind: "array"; readonly of: "bool"; readonly value: readonly boolean[] }
  | {
      readonly kind: "array";
      readonly of: Exclude<GgufValueKind, "bool" | "string" | "array">;
      readonly value: ArrayLike<number>;
    };

export type GgufMetadata = ReadonlyMap<string, GgufValue>;

/** Stored bytes of a tensor. @throws RangeError when its rows are not whole blocks, or its size is no safe integer */
export function ggufBytes({ name, type, shape }: GgufTensor): number {
  const { bytes, elements } = GGUF_TYPES[type];
  const count = shape.reduce((product, size) => product * size, 1);
  const size = (count / elements) * bytes;
  if ((shape.at(-1) ?? 1) % elements !== 0 || !Number.isSafeInteger(size)) {
    throw new RangeError(`${name}: [${shape.join(", ")}] as ${type}`);
  }
  return size;
}
