import { accumulate, add, assign, multiply, scale, softcap } from "./arithmetic.ts";
import { activation, clampedGate, gatedActivation } from "./gates.ts";
import type { RowKernel, Rows } from "./language.ts";

/** Everything that is declared as rows. */
export const ROWS: readonly Rows[] = [
  accumulate,
  activation,
  add,
  assign,
  clampedGate,
  gatedActivation,
  multiply,
  scale,
  softcap,
];

/** All row kernels by name; their order numbers them. */
export const ROW_KERNELS: ReadonlyMap<string, RowKernel> = new Map(
  ROWS.flatMap(({ kernels }) => kernels.map((kernel) => [kernel.name, kernel] as const)),
);
