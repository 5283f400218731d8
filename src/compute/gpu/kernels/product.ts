import productSumsText from "./product-sums.wgsl" with { type: "text" };
import productText from "./product.wgsl" with { type: "text" };
import type { GpuStaging } from "./staging.ts";
import type { Definitions } from "./template.ts";

/**
 * Rows per lane of the subgroup staging. More need fewer loads, but take twice as long to compile and no longer fit into
 * the processor's cache of decoded instructions (docs/decisions/gpu-drivers.md).
 */
const ROWS_PER_LANE = 4;

/** What a kernel that multiplies matrices includes: see product.wgsl. */
export const PRODUCT_INCLUDES = { product: productText, product_sums: productSumsText };

/** Rows and columns of a product that one workgroup computes. */
export interface Tile {
  readonly rows: number;
  readonly cols: number;
}

export function productTile(staging: GpuStaging): Tile {
  if (staging.kind === "workgroup") return { rows: 64, cols: 64 };
  return { rows: ROWS_PER_LANE * staging.lanes, cols: 4 * staging.lanes };
}

/** Whether four neighbors in memory are terms of one row (or column), or rows (or columns) at one term. */
export type Along = "rows" | "terms";

/** The definitions that product.wgsl needs. */
export function productDefinitions(staging: GpuStaging, left: Along, right: Along): Definitions {
  const { rows, cols } = productTile(staging);
  const lanes = staging.kind === "subgroup" ? staging.lanes : 0;
  return {
    LEFT: left,
    RIGHT: right,
    STAGING: staging.kind,
    LANES: lanes,
    ROWS_PER_LANE,
    TILE_ROWS: rows,
    TILE_COLS: cols,
    // Mesa's software GPU compiles a shuffle better than a broadcast at 8 lanes and much worse at 16.
    SHUFFLE: lanes <= 8 ? "subgroupShuffle" : "subgroupBroadcast",
  };
}
