/** One comparison of merges: which model, which bases, and what we may take of PEFT's time and memory. */
export interface MergeCase {
  readonly model: "135m" | "1.5b";
  readonly bases: "dense" | "sparse" | "very_sparse";
  /** Whether the adapter's file holds the bases, as PEFT writes them by default. */
  readonly kept: "saved" | "redrawn";
  readonly rank: number;
  /** Most of PEFT's time: of the whole process, which is what a user waits for. */
  readonly seconds: number;
  /** Most of its peak memory. */
  readonly bytes: number;
}

const small = { model: "135m", rank: 16, bytes: 0.25 } as const;
/** Here arithmetic decides. */
const large = { model: "1.5b", rank: 32, bytes: 0.12, kept: "redrawn" } as const;

export const MERGE_CASES: readonly MergeCase[] = [
  { ...small, bases: "dense", kept: "saved", seconds: 0.22 },
  { ...small, bases: "dense", kept: "redrawn", seconds: 0.22 },
  { ...small, bases: "sparse", kept: "redrawn", seconds: 0.22 },
  { ...small, bases: "very_sparse", kept: "redrawn", seconds: 0.18 },
  { ...large, bases: "dense", seconds: 0.6 },
  { ...large, bases: "sparse", seconds: 0.35 },
  { ...large, bases: "very_sparse", seconds: 0.15 },
];

/** PEFT of today's torch draws dense bases in this way; ternary ones tell it by themselves. */
export const DENSE_GENERATOR = "torch-mt19937-bf16-v2";

/** `135m, dense, saved`. */
export function titleOf({ model, bases, kept }: MergeCase): string {
  return `${model}, ${bases.replace("_", " ")}, ${kept}`;
}
