/** GPU kernels bring operands through workgroup memory; products with quantized blocks may be integer dot products. */
export interface GpuStaging {
  readonly kind: "workgroup";
  readonly integerDots?: boolean;
}

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
