import { roundToGrid, toHalfBits } from "../../random/grid.ts";
import { philoxFill, philoxStream, type PhiloxStream } from "../../random/philox.ts";
import { basesCount, type BasesExtent, type BasesHead, type BasesSpec } from "./bases-types.ts";
import { paddedStride, type BasisMatrix, type BasisStorage } from "./storage.ts";

/** Stores the elements of a stream that the grid of the adapter rounds: 16-bit patterns, or codes with a rounded scale. */
function materialise(
  stream: PhiloxStream,
  grid: "bf16" | "f16",
  pitch: number,
  rows: number,
  cols: number,
  stride: number,
): BasisStorage {
  const values = new Float32Array(cols);
  if (stream.sparsity === "dense") {
    const data = new Uint16Array(rows * stride);
    for (let row = 0; row < rows; row++) {
      philoxFill(stream, row * pitch, values);
      values.forEach((value, col) => (data[row * stride + col] = toHalfBits(value, grid)));
    }
    return { kind: grid, data };
  }
  const data = new Uint32Array((rows * stride) / 16);
  for (let row = 0; row < rows; row++) {
    philoxFill(stream, row * pitch, values);
    values.forEach((value, col) => {
      const at = row * stride + col;
      const code = value > 0 ? 1 : value < 0 ? 2 : 0;
      data[at >>> 4] = (data[at >>> 4] ?? 0) | (code << ((at & 15) * 2));
    });
  }
  return { kind: "ternary", data, scale: roundToGrid(stream.scale, grid) };
}

/** Bases of philox-v1: nothing is drawn for the f32 grid; another grid needs stored elements. */
export function drawPhilox(spec: BasesSpec, extent: BasesExtent): { a: BasisMatrix; b: BasisMatrix } {
  const { r, min, grid } = spec;
  const matrix = (which: 0 | 1, rows: number, cols: number, pitch: number): BasisMatrix => {
    const stream = philoxStream(spec.key, which, spec.sparsity, min);
    const stride = paddedStride(cols);
    const storage: BasisStorage =
      grid === "f32" ? { kind: "philox", ...stream, pitch } : materialise(stream, grid, pitch, rows, cols, stride);
    return { rows, cols, stride, storage };
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
    philoxFill(philoxStream(spec.key, which, spec.sparsity, spec.min), 0, values);
    return values.map((value) => roundToGrid(value, spec.grid));
  };
  return { a: head(0, spec.r * spec.min), b: head(1, spec.max * basesCount(spec.min, spec.r) * spec.r) };
}
