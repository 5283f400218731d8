/** Kernels that there are in machine code. */
export const FMA_KERNELS: readonly string[] = [
  "gemm",
  "groupedGemm",
  "normedGemm",
  "delta",
  "basisGradient",
  "attention",
  "attentionQueries",
  "attentionKeys",
  "ternary",
];

/** How such a kernel is numbered beside the module's one of this name. */
export function fmaName(kernel: string): string {
  return `${kernel} with FMA`;
}
