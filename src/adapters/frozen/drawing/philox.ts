import { philoxFill, philoxStream, type PhiloxStream } from "../../../compute/random/philox.ts";
import { basesCount, type BasesExtent, type BasesHead, type BasesSpec } from "./bases.ts";
import { paddedStride, type BasisMatrix } from "../../../compute/device/matrix-storage.ts";

function streamOf({ key, sparsity, min, grid }: BasesSpec, which: 0 | 1): PhiloxStream {
  return philoxStream(key, which, sparsity, min, grid);
}

/** Bases of philox-v1: nothing is drawn, whatever the grid. */
export function drawPhilox(spec: BasesSpec, extent: BasesExtent): { a: BasisMatrix; b: BasisMatrix } {
  const { r, min } = spec;
  const matrix = (which: 0 | 1, rows: number, cols: number, pitch: number): BasisMatrix => {
    return { rows, cols, stride: paddedStride(cols), storage: { kind: "philox", ...streamOf(spec, which), pitch } };
  };
  return {
    a: matrix(0, r, extent.cols, min),
    b: matrix(1, extent.rows, extent.bases * r, basesCount(min, r) * r),
  };
}

/** The first `count` final elements of philox A and B, in PEFT's memory order. */
export function drawPhiloxHead(spec: BasesSpec, count: number): BasesHead {
  const head = (which: 0 | 1, elements: number): Float32Array<ArrayBuffer> => {
    const values = new Float32Array(Math.min(count, elements));
    philoxFill(streamOf(spec, which), 0, values);
    return values;
  };
  return { a: head(0, spec.r * spec.min), b: head(1, spec.max * basesCount(spec.min, spec.r) * spec.r) };
}
