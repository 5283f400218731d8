import expected from "./expected.json";

/** Methods whose kernels differ. */
export const RUN_NAMES = ["dense", "sparse", "lora", "dora", "nola"] as const;
export type RunName = (typeof RUN_NAMES)[number];

/** SHA-256 of what the CPU device computes, whose bits depend on nothing but its kernels. */
export interface Digests {
  readonly machine: { readonly adapter: string; readonly merged: string };
  readonly wasm: { readonly adapter: string; readonly merged: string };
}

/** What training and merges of `training-checks.ts` come to. `bun scripts/expected.ts` writes it. */
export const EXPECTED: Readonly<
  Record<
    RunName,
    { readonly losses: readonly number[]; readonly gradientNorms: readonly number[]; readonly digests: Digests }
  >
> = expected;
