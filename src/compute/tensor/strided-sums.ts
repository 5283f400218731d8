import type { StridedProduct } from "../device/families/strided-sums.ts";
import type { Run } from "./run.ts";

export type { Steps, Strided, StridedProduct } from "../device/families/strided-sums.ts";

/** Records sums of products of elements that lie at regular distances. */
export function recordStridedSums(run: Run, product: StridedProduct): void {
  run.compute("stridedSums", product);
}
