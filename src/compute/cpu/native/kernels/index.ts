import { Caller, type Code, heapOf, type ModuleParts } from "../caller.ts";
import { wasmRoutines } from "../on-demand.ts";
import { attentionKeys, attentionQueries } from "./attention-gradient.ts";
import { attention } from "./attention.ts";
import { basisGradient } from "./basis-gradient.ts";
import { delta } from "./delta.ts";
import { gatedDelta } from "./gated-delta.ts";
import { gatedDeltaGradient } from "./gated-delta-gradient.ts";
import { normedGemm } from "./normed-gemm.ts";
import { gemm } from "./gemm.ts";
import { groupedGemm } from "./grouped-gemm.ts";
import { FMA_KERNELS, WASM_KERNELS } from "./names.ts";
import { rowKernels } from "./rows.ts";
import { ternary } from "./ternary.ts";

/** Computes a piece of a command. */
type NativeKernel = (on: Caller, parameters: number, piece: number) => void;

const KERNELS: Readonly<Record<string, NativeKernel>> = {
  gemm,
  groupedGemm,
  normedGemm,
  delta,
  basisGradient,
  attention,
  attentionQueries,
  attentionKeys,
  ternary,
  gatedDelta,
  gatedDeltaGradient,
  ...rowKernels,
};

/** What the module exports. */
type Exports = Readonly<Record<string, unknown>>;

type Kernel = (parameters: number, piece: number) => void;

/**
 * Kernels of routines on a heap, in machine code.
 * @param code asked for when one of them is first called
 */
export function nativeKernels(
  code: () => Code,
  memory: WebAssembly.Memory,
  scratch: number,
  exports: Exports,
  names = FMA_KERNELS,
): Kernel[] {
  let on: Caller | undefined;
  const caller = () => (on ??= new Caller(code(), heapOf(memory), scratch, modulePartsOf(exports)));
  return names.map((name) => {
    const kernel = KERNELS[name];
    if (kernel === undefined) throw new Error(`there are no routines of ${name}`);
    return (parameters, piece) => kernel(caller(), parameters, piece);
  });
}

/** The same in WebAssembly: those that its module has not. */
export function wasmKernels(memory: WebAssembly.Memory, scratch: number, exports: Exports): Kernel[] {
  return nativeKernels(wasmRoutines, memory, scratch, exports, WASM_KERNELS);
}

/** All of WebAssembly on a heap, by name. */
export function plainKernels(memory: WebAssembly.Memory, scratch: number, exports: Exports): Exports {
  const kernels = wasmKernels(memory, scratch, exports);
  return { ...exports, ...Object.fromEntries(WASM_KERNELS.map((name, at) => [name, kernels[at]])) };
}

/** Parts of the module that kernels of routines call. */
export function modulePartsOf(exports: Exports): ModuleParts {
  const part = <N extends keyof ModuleParts>(name: N): ModuleParts[N] => {
    const found = exports[name];
    if (typeof found !== "function") throw new Error(`the module has no ${name}`);
    return found as ModuleParts[N];
  };
  return {
    normedRows: part("normedRows"),
    basisRows: part("basisRows"),
    deltaGate: part("deltaGate"),
    foldRows: part("foldRows"),
    listRows: part("listRows"),
    loadRows: part("loadRows"),
  };
}
