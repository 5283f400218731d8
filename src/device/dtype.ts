/** The dtypes that kernels read and write, with their codes in dtype.wgsl. */
export const DTYPE_CODES = { F32: 0, F16: 1, BF16: 2 } as const;

export type KernelDtype = keyof typeof DTYPE_CODES;

/** Can kernels read and write this dtype? */
export function isKernelDtype(dtype: string): dtype is KernelDtype {
  return Object.hasOwn(DTYPE_CODES, dtype);
}
