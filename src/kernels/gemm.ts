import type { KernelSource } from "../gpu/pipelines.ts";
import type { KernelDtype } from "./dtype.ts";
import { kernelFamily } from "./family.ts";
import gemmText from "./gemm.wgsl" with { type: "text" };
import type { Staging } from "./staging.ts";

/** Which of the operands are transposed: y = a bᵀ, a b or aᵀ b. */
export type GemmOrder = "NT" | "NN" | "TN";

/** Flags of one dispatch; the constants of the same names in gemm.wgsl. */
export const GEMM_FLAGS = { hasBias: 1, hasResidual: 2, accumulate: 4 } as const;

/** Rows per lane of the subgroup staging. More need fewer loads, but no longer fit into the cache of decoded instructions. */
const ROWS_PER_LANE = 4;

const family = kernelFamily("gemm", gemmText);

/** Rows and columns of y that one workgroup computes. */
export function gemmTile(staging: Staging): { readonly rows: number; readonly cols: number } {
  if (staging.kind === "workgroup") return { rows: 64, cols: 64 };
  return { rows: ROWS_PER_LANE * staging.lanes, cols: 4 * staging.lanes };
}

/** The product of two matrices, the second stored as `dtype`. Parameters: see gemm.wgsl. */
export function gemmKernel(staging: Staging, order: GemmOrder, dtype: KernelDtype): KernelSource {
  const { rows, cols } = gemmTile(staging);
  const lanes = staging.kind === "subgroup" ? staging.lanes : 0;
  // Mesa's software GPU compiles a shuffle better than a broadcast at 8 lanes and much worse at 16.
  const SHUFFLE = lanes <= 8 ? "subgroupShuffle" : "subgroupBroadcast";
  const sizes = { ROWS_PER_LANE, TILE_ROWS: rows, TILE_COLS: cols };
  return family({ ORDER: order, DTYPE: dtype, STAGING: staging.kind, LANES: lanes, SHUFFLE, ...sizes });
}
