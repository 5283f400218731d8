import { Caller, heapOf, type ModuleParts } from "../caller.ts";
import type { NativeCode } from "../on-demand.ts";
import { attentionKeys, attentionQueries } from "./attention-gradient.ts";
import { attention } from "./attention.ts";
import { basisGradient } from "./basis-gradient.ts";
import { delta } from "./delta.ts";
import { gatedDelta } from "./gated-delta.ts";
import { gatedDeltaGradient } from "./gated-delta-gradient.ts";
import { normedGemm } from "./normed-gemm.ts";
import { gemm } from "./gemm.ts";
import { groupedGemm } from "./grouped-gemm.ts";
import { FMA_KERNELS } from "./names.ts";
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
};

/** What the module exports. */
type Exports = Readonly<Record<string, unknown>>;

/**
 * The kernels of FMA_KERNELS on a heap.
 * @param code asked for when one of them is first called
 */
export function nativeKernels(
  code: () => NativeCode,
  memory: WebAssembly.Memory,
  scratch: number,
  exports: Exports,
): ((parameters: number, piece: number) => void)[] {
  let on: Caller | undefined;
  const caller = () => (on ??= new Caller(code(), heapOf(memory), scratch, modulePartsOf(exports)));
  return FMA_KERNELS.map((name) => {
    const kernel = KERNELS[name];
    if (kernel === undefined) throw new Error(`there is no machine code of ${name}`);
    return (parameters, piece) => kernel(caller(), parameters, piece);
  });
}

/** Parts of the module that kernels of machine code call. */
export function modulePartsOf(exports: Exports): ModuleParts {
  const part = <N extends keyof ModuleParts>(name: N): ModuleParts[N] => {
    const found = exports[name];
    if (typeof found !== "function") throw new Error(`the module has no ${name}`);
    return found as ModuleParts[N];
  };
  return {
    normedRows: part("normedRows"),
    gatedRows: part("gatedRows"),
    basisRows: part("basisRows"),
    deltaGate: part("deltaGate"),
    foldRows: part("foldRows"),
    listRows: part("listRows"),
    loadRows: part("loadRows"),
  };
}
