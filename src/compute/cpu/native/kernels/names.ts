import { ROW_KERNELS } from "../../../rows/index.ts";

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
  ...ROW_KERNELS.keys(),
];

/** Those that WebAssembly has as routines, too, and its module has not. */
export const WASM_KERNELS: readonly string[] = [
  "gemm",
  "groupedGemm",
  "attention",
  "attentionQueries",
  "attentionKeys",
  ...ROW_KERNELS.keys(),
];

/** What such a kernel is called beside WebAssembly's one of this name. */
export function fmaName(kernel: string): string {
  return `${kernel} with FMA`;
}

/** All kernels by number: the module's, those of routines in WebAssembly, those in machine code. */
export function numberedKernels(ofModule: readonly string[]): readonly string[] {
  return [...ofModule, ...WASM_KERNELS, ...FMA_KERNELS.map(fmaName)];
}
