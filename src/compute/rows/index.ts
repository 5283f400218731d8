import { accumulate, add, assign, multiply, scale, scaleColumns, softcap, zero } from "./arithmetic.ts";
import { activation, clampedGate, gatedActivation } from "./gates.ts";
import { dividedByNorms, layerNorm, rmsNorm } from "./norms.ts";
import type { RowKernel, Rows } from "./language.ts";

/** Those that are ops, by their names there: each has its line here and nowhere else. */
export const ROWS = {
  activation,
  add,
  clampedGate,
  dividedByNorms,
  gatedActivation,
  layerNorm,
  multiply,
  rmsNorm,
  scale,
  scaleColumns,
  softcap,
} as const;

/** Something of each of them, by its name; who asks knows the type of each. */
export function mapRows(make: (rows: Rows) => unknown): { readonly [N in keyof typeof ROWS]: unknown } {
  const all: readonly (readonly [string, Rows])[] = Object.entries(ROWS);
  return Object.fromEntries(all.map(([name, rows]) => [name, make(rows)])) as Record<keyof typeof ROWS, unknown>; // these names
}

/** All row kernels by name; their order numbers them. */
export const ROW_KERNELS: ReadonlyMap<string, RowKernel> = new Map(
  [accumulate, assign, zero, ...Object.values(ROWS)].flatMap(({ kernels }) =>
    kernels.map((kernel) => [kernel.name, kernel] as const),
  ),
);
