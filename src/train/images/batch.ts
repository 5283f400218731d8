import type { LargestMicroBatch } from "../../data/batches/types.ts";
import { CHANNELS, type Pictures, type Size } from "../../models/vision/patches.ts";

/** Pictures that go through a model at once, and the classes that they are of. */
export interface PictureBatch {
  readonly pictures: Pictures;
  /** Of each picture, below the number of classes. */
  readonly labels: Uint32Array<ArrayBuffer>;
}

/** Grey pictures of so many classes by turns: as much work as any others. */
export function grey({ tokens: count }: LargestMicroBatch, size: Size, classes: number): PictureBatch {
  const pixels = new Float32Array(count * CHANNELS * size[0] * size[1]);
  return { pictures: { count, size, pixels }, labels: Uint32Array.from({ length: count }, (_, at) => at % classes) };
}
