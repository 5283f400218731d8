import { ROW_KERNELS } from "../../../rows/index.ts";

/** Kernels of routines, in machine code and in WebAssembly. */
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

/** All kernels by number: the module's, those of routines in WebAssembly, those in machine code. */
export function numberedKernels(ofModule: readonly string[]): readonly string[] {
  return [...ofModule, ...ROUTINE_KERNELS, ...ROUTINE_KERNELS.map(fmaName)];
}
