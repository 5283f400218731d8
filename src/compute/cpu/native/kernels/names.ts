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
  "gatedDelta",
  "gatedDeltaGradient",
];

/** What such a kernel is called beside the module's one of this name. */
export function fmaName(kernel: string): string {
  return `${kernel} with FMA`;
}

/** All kernels by number: the module's, then these. */
export function numberedKernels(ofModule: readonly string[]): readonly string[] {
  return [...ofModule, ...FMA_KERNELS.map(fmaName)];
}
