import type { LargestMicroBatch } from "../../data/batches/types.ts";
import { CHANNELS, type Images, type Size } from "../../models/vision/patches.ts";

/** Images that go through a model at once, and the classes that they are of. */
export interface ImageBatch {
  readonly images: Images;
  /** Of each image, below the number of classes. */
  readonly labels: Uint32Array<ArrayBuffer>;
}

/** Grey images of so many classes by turns: as much work as any others. */
export function grey({ tokens: count }: LargestMicroBatch, size: Size, classes: number): ImageBatch {
  const pixels = new Float32Array(count * CHANNELS * size[0] * size[1]);
  return { images: { count, size, pixels }, labels: Uint32Array.from({ length: count }, (_, at) => at % classes) };
}
