import { Caller, type Code, heapOf, type ModuleParts } from "../caller.ts";
import { attentionKeys, attentionQueries } from "./attention-gradient.ts";
import { attention } from "./attention.ts";
import { basisGradient } from "./basis-gradient.ts";
import { delta } from "./delta.ts";
import { gatedDelta } from "./gated-delta.ts";
import { gatedDeltaGradient } from "./gated-delta-gradient.ts";
import { normedGemm } from "./normed-gemm.ts";
import { gemm } from "./gemm.ts";
import { groupedGemm } from "./grouped-gemm.ts";
import { ROUTINE_KERNELS } from "./names.ts";
import { rowKernels } from "./rows.ts";
import { ternary } from "./ternary.ts";

/** Computes a piece of a command. */
type RoutineKernel = (on: Caller, parameters: number, piece: number, again: boolean) => void;

const KERNELS: Readonly<Record<string, RoutineKernel>> = {
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

/** @param again whether this thread has computed a piece of the command before */
type Kernel = (parameters: number, piece: number, scratch?: number, again?: boolean) => void;

/**
 * Kernels of routines on a heap, by name.
 * @param code asked for when one of them is first called
 */
export function routineKernels(
  code: () => Code,
  memory: WebAssembly.Memory,
  scratch: number,
  exports: Exports,
): Readonly<Record<string, Kernel>> {
  let on: Caller | undefined;
  const caller = () => (on ??= new Caller(code(), heapOf(memory), scratch, modulePartsOf(exports)));
  return Object.fromEntries(
    ROUTINE_KERNELS.map((name) => {
      const kernel = KERNELS[name];
      if (kernel === undefined) throw new Error(`there are no routines of ${name}`);
      const run: Kernel = (parameters, piece, _, again = false) => kernel(caller(), parameters, piece, again);
      return [name, run];
    }),
  );
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
