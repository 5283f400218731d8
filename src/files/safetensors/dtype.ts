/** The element types of the safetensors format that this program knows, with their sizes in bytes. */
const BYTES = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
} as const;

/** An element type, spelled as in a safetensors header. */
export type Dtype = keyof typeof BYTES;

/** The floating types, the 8-bit ones included. */
export type FloatDtype = "F64" | "F32" | "F16" | "BF16" | "F8_E4M3" | "F8_E5M2";

/** The floating types that values can be rounded to: the 8-bit ones need a scale beside them and are only read. */
export type WritableFloatDtype = Exclude<FloatDtype, "F8_E4M3" | "F8_E5M2">;

/** The dtypes that weights and bases are written in, by the names that options and adapters have for them. */
export const NAMED_DTYPES = { f32: "F32", f16: "F16", bf16: "BF16" } as const;

/** `--dtype`. */
export type OutputDtype = "keep" | keyof typeof NAMED_DTYPES;

/** Every known element type. */
export const DTYPES: readonly Dtype[] = Object.keys(BYTES).filter(isDtype);

/** Is `name` an element type that this program knows? Case matters, as in the format. */
export function isDtype(name: string): name is Dtype {
  return Object.hasOwn(BYTES, name);
}

/** Bytes of one element. */
export function dtypeBytes(dtype: Dtype): number {
  return BYTES[dtype];
}

/** Is this a floating type, 8-bit ones included? */
export function isFloat(dtype: Dtype): dtype is FloatDtype {
  return dtype.startsWith("F") || dtype === "BF16";
}

/** Is this a floating type that values can be rounded to (F64, F32, F16 or BF16)? */
export function isWritableFloat(dtype: Dtype): dtype is WritableFloatDtype {
  return isFloat(dtype) && BYTES[dtype] > 1;
}
