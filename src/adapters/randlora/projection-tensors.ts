import { philoxFill } from "../../random/philox.ts";
import { shapeElements } from "../../safetensors/header.ts";
import type { AdapterTensor } from "../types.ts";
import { drawSteps } from "../../bases/draw.ts";
import { type BasesSpec, basesCount } from "../../bases/bases.ts";
import { SAVED_A, SAVED_B, type SavedPair } from "./saved.ts";
import { type StdCache, userStdCache } from "../../bases/std-cache.ts";
import { takeSteps } from "../../bases/steps.ts";
import { type BasisMatrix, readElement } from "../../bases/storage.ts";

/** Elements `first .. first + out.length` of a whole matrix, row-major, as f32. */
function fillElements(matrix: BasisMatrix, first: number, out: Float32Array<ArrayBuffer>): void {
  const { storage, cols } = matrix;
  if (storage.kind === "philox" && storage.pitch === cols) {
    philoxFill(storage, first, out);
    return;
  }
  let row = Math.floor(first / cols);
  let col = first % cols;
  for (let i = 0; i < out.length; i++) {
    out[i] = readElement(matrix, row, col);
    col++;
    if (col === cols) {
      col = 0;
      row++;
    }
  }
}

/** A drawn matrix as a tensor of F32, as PEFT saves it; elements are widened when they are read. */
function drawnTensor(name: string, shape: readonly number[], matrix: BasisMatrix): AdapterTensor {
  const bytes = shapeElements(shape) * 4;
  const read = (out: Uint8Array, start = 0) => {
    if (start < 0 || start + out.length > bytes) throw new RangeError(`bytes of ${name} outside its ${bytes}`);
    // Whole elements that cover the bytes; little-endian, as every machine that this runs on.
    const first = Math.floor(start / 4);
    const values = new Float32Array(Math.ceil((start + out.length) / 4) - first);
    fillElements(matrix, first, values);
    out.set(new Uint8Array(values.buffer).subarray(start - first * 4, start - first * 4 + out.length));
    return Promise.resolve();
  };
  return {
    name,
    dtype: "F32",
    shape,
    bytes,
    read,
    async readAll() {
      const out = new Uint8Array(bytes);
      await read(out);
      return out;
    },
  };
}

/**
 * Draws the whole pair that `spec` means, as the tensors that PEFT saves. Throws the signal's reason when it is aborted.
 */
export async function drawPairTensors(
  spec: BasesSpec,
  cache: StdCache = userStdCache(),
  signal?: AbortSignal,
): Promise<SavedPair> {
  const { r, max, min } = spec;
  const n = basesCount(min, r);
  const { a, b } = await takeSteps(drawSteps(spec, { rows: max, bases: n, cols: min }, cache), signal);
  return { a: drawnTensor(SAVED_A, [r, 1, min], a), b: drawnTensor(SAVED_B, [max, n, r], b), max, min };
}
