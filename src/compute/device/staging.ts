/**
 * How a GPU's kernels bring operands to the multiplier: shuffled inside one subgroup, or through workgroup memory; there products
 * with matrices in blocks may be of whole numbers, by integer dot products.
 */
export type GpuStaging =
  | { readonly kind: "subgroup"; readonly lanes: number }
  | { readonly kind: "workgroup"; readonly integerDots?: boolean };

/**
 * The same of any device; the CPU device adds up by FMA where the processor has it. It decides about bits, so a run keeps the one
 * that it began with.
 */
export type Staging = GpuStaging | CpuStaging;

export interface CpuStaging {
  readonly kind: "cpu";
  readonly fma?: boolean;
}

/** @throws Error for the CPU device's staging, which no GPU has */
export function gpuStaging(staging: Staging): GpuStaging {
  if (staging.kind === "cpu") throw new Error("a GPU was asked to compute as the CPU device does");
  return staging;
}
