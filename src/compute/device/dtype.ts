/** The dtypes of single numbers that kernels read and write, with their codes in dtype.wgsl. */
export const DTYPE_CODES = { F32: 0, F16: 1, BF16: 2 } as const;

export type KernelDtype = keyof typeof DTYPE_CODES;

/** Formats of blocks of numbers that share a scale, as blocks.ts has them: frozen matrices are stored so, and only read. */
export type BlockDtype = "Q8_0" | "Q4_0";

/** What options call them (`--quantize`). */
export const BLOCKS_NAMES = ["q8", "q4"] as const;
export type BlocksName = (typeof BLOCKS_NAMES)[number];
export const NAMED_BLOCKS: Readonly<Record<BlocksName, BlockDtype>> = { q8: "Q8_0", q4: "Q4_0" };

/** What keys and values are held in, and what options call it (`--kv-type`). */
export type KvDtype = "F32" | "F16";
export const KV_NAMES = ["f32", "f16"] as const;
export type KvName = (typeof KV_NAMES)[number];
export const NAMED_KV: Readonly<Record<KvName, KvDtype>> = { f32: "F32", f16: "F16" };

/** How the numbers of a weight may be stored. */
export type StoredDtype = KernelDtype | BlockDtype;

/** How a matrix may lie that kernels read: as a weight; as ternary bases, two bits an element; or nowhere, drawn as it is read. */
export type MatrixFormat = StoredDtype | "TERNARY" | "PHILOX";

/** Can kernels read and write this dtype? */
export function isKernelDtype(dtype: string): dtype is KernelDtype {
  return Object.hasOwn(DTYPE_CODES, dtype);
}

/** Is this a format of blocks? */
export function isBlockDtype(dtype: string): dtype is BlockDtype {
  return dtype === "Q8_0" || dtype === "Q4_0";
}
