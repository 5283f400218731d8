import { ROW_KERNELS } from "../../../rows/index.ts";

/** Kernels of routines, in machine code and in WebAssembly; what the module has, too, WebAssembly computes by that. */
export const ROUTINE_KERNELS: readonly string[] = [
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
  ...ROW_KERNELS.keys(),
];

/** What one in machine code is called beside WebAssembly's of this name. */
export function fmaName(kernel: string): string {
  return `${kernel} with FMA`;
}

/** All kernels by number: those of routines in WebAssembly, the module's, those in machine code. The last one of a name counts. */
export function numberedKernels(ofModule: readonly string[]): readonly string[] {
  return [...ROUTINE_KERNELS, ...ofModule, ...ROUTINE_KERNELS.map(fmaName)];
}
