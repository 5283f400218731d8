import type { BasesExtent, BasesSpec } from "../frozen/drawing/draw.ts";
import { basesCount } from "../frozen/drawing/draw.ts";
import { readElement, type BasisMatrix } from "../../compute/device/matrix-storage.ts";
import type { StdCache, StdPair } from "../files/std-cache.ts";

/** A cache that forgets with its test. */
export class MemoryStdCache implements StdCache {
  readonly pairs = new Map<string, StdPair>();

  get(key: string): StdPair | null {
    return this.pairs.get(key) ?? null;
  }

  set(key: string, stds: StdPair): void {
    this.pairs.set(key, stds);
  }
}

/** All of the bases. */
export function whole(spec: BasesSpec): BasesExtent {
  return { rows: spec.max, bases: basesCount(spec.min, spec.r), cols: spec.min };
}

/** Every element, row after row, which is PEFT's memory order. */
export function elements(matrix: BasisMatrix): number[] {
  return Array.from({ length: matrix.rows * matrix.cols }, (_, i) =>
    readElement(matrix, Math.floor(i / matrix.cols), i % matrix.cols),
  );
}
