import { accumulate, add, assign, multiply, scale, softcap } from "./arithmetic.ts";
import { activation, clampedGate, gatedActivation } from "./gates.ts";
import type { RowKernel } from "./language.ts";

/** Everything that is declared as rows; all row kernels by name, whose order numbers them. */
export const ROW_KERNELS: ReadonlyMap<string, RowKernel> = new Map(
  [accumulate, activation, add, assign, clampedGate, gatedActivation, multiply, scale, softcap].flatMap(({ kernels }) =>
    kernels.map((kernel) => [kernel.name, kernel] as const),
  ),
);
