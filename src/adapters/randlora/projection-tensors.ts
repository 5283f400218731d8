import { philoxFill } from "../../compute/random/philox.ts";
import { computedTensor } from "../files/tensors.ts";
import { drawSteps } from "../frozen/drawing/draw.ts";
import { type BasesSpec, basesCount } from "../frozen/drawing/bases.ts";
import { SAVED_A, SAVED_B, type SavedPair } from "./saved.ts";
import { type StdCache, userStdCache } from "../frozen/drawing/std-cache.ts";
import { takeSteps } from "../frozen/drawing/steps.ts";
import { type BasisMatrix, readElement } from "../../compute/device/matrix-storage.ts";

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
  const tensor = (name: string, shape: readonly number[], matrix: BasisMatrix) =>
    computedTensor(name, shape, (first, out) => fillElements(matrix, first, out));
  return { a: tensor(SAVED_A, [r, 1, min], a), b: tensor(SAVED_B, [max, n, r], b), max, min };
}
