import productSumsText from "./product-sums.wgsl" with { type: "text" };
import productText from "./product.wgsl" with { type: "text" };
import type { Definitions } from "./template.ts";

/** What a kernel that multiplies matrices includes: see product.wgsl. */
export const PRODUCT_INCLUDES = { product: productText, product_sums: productSumsText };

/** Rows and columns of a product that one workgroup computes. */
export const PRODUCT_TILE = { rows: 64, cols: 64 } as const;

/** Whether four neighbors in memory are terms of one row (or column), or rows (or columns) at one term. */
export type Along = "rows" | "terms";

/** The definitions that product.wgsl needs. */
export function productDefinitions(left: Along, right: Along): Definitions {
  return { LEFT: left, RIGHT: right, TILE_ROWS: PRODUCT_TILE.rows, TILE_COLS: PRODUCT_TILE.cols };
}
