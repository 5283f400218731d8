/** Single numbers, which kernels read and write. */
export const NUMBER_DTYPES = ["F32", "F16", "BF16"] as const;
export type KernelDtype = (typeof NUMBER_DTYPES)[number];

/** Blocks of numbers that share a scale, as blocks.ts has them: frozen matrices are stored so, and only read. */
export const BLOCK_DTYPES = ["Q8_0", "Q4_0", "Q6_K", "MXFP4"] as const;
export type BlockDtype = (typeof BLOCK_DTYPES)[number];

/** Those that numbers are rounded to, and that products of whole numbers read. */
export const ROUNDED_DTYPES = ["Q8_0", "Q4_0"] as const;
export type RoundedDtype = (typeof ROUNDED_DTYPES)[number];

/** How the numbers of a weight may be stored; kernels are told its place in this list. */
export type StoredDtype = KernelDtype | BlockDtype;
export const STORED_DTYPES: readonly StoredDtype[] = [...NUMBER_DTYPES, ...BLOCK_DTYPES];
export const DTYPE_CODES = Object.fromEntries(STORED_DTYPES.map((dtype, code) => [dtype, code])) as Readonly<
  Record<StoredDtype, number>
>;

/** What options call them (`--quantize`). */
export const BLOCKS_NAMES = ["q8", "q4"] as const;
export type BlocksName = (typeof BLOCKS_NAMES)[number];
export const NAMED_BLOCKS: Readonly<Record<BlocksName, RoundedDtype>> = { q8: "Q8_0", q4: "Q4_0" };

/** What keys and values are held in, and what options call it (`--kv-type`): numbers, or rows of blocks, as blocks.ts has them. */
export const KV_DTYPES = ["F32", "F16", "Q8_ROWS"] as const;
export type KvDtype = (typeof KV_DTYPES)[number];
export const KV_NAMES = ["f32", "f16", "q8_0"] as const;
export type KvName = (typeof KV_NAMES)[number];
export const NAMED_KV: Readonly<Record<KvName, KvDtype>> = { f32: "F32", f16: "F16", q8_0: "Q8_ROWS" };

/** How a matrix may lie that kernels read: as a weight; as ternary bases, two bits an element; or nowhere, drawn as it is read. */
export type MatrixFormat = StoredDtype | "TERNARY" | "PHILOX";

/** Can kernels read and write this dtype? */
export function isKernelDtype(dtype: string): dtype is KernelDtype {
  return NUMBER_DTYPES.some((known) => known === dtype);
}

/** Is this one that numbers are rounded to? */
export function isRoundedDtype(dtype: string): dtype is RoundedDtype {
  return ROUNDED_DTYPES.some((known) => known === dtype);
}

/** Is this a format of blocks? */
export function isBlockDtype(dtype: string): dtype is BlockDtype {
  return BLOCK_DTYPES.some((known) => known === dtype);
}
