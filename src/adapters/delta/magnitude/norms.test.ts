import { expect, test } from "bun:test";
import { itemAt } from "../../../files/item-at.ts";
import { openTestDevice } from "../../../compute/device/testing/open.ts";
import { Run } from "../../../compute/tensor/run.ts";
import { recordGemm } from "../../../compute/tensor/gemm.ts";
import { sliceRows } from "../../../compute/tensor/tensor.ts";
import { random } from "../../../compute/tensor/cases/case.ts";
import { place, take } from "../../../compute/tensor/cases/placed.ts";
import { error } from "../../testing/bases.ts";
import { allocateFormed, formedRows, recordSquares } from "./trainable.ts";

test("the squares of a module larger than the scratch, block by block", async () => {
  using gpu = await openTestDevice();
  // Rows of which 8 MiB hold no whole number of blocks: the last block is smaller, and the module begins within a matrix.
  const [above, out, input, rank] = [8, 450, 11_001, 2];
  const [w, a, b] = [random(above + out, input, "BF16"), random(rank, input), random(out, rank, "F32", 0.5)];
  const [matrix, right, left] = [w, a, b].map((operand) => place(gpu, operand)) as [Placed, Placed, Placed];
  const weight = sliceRows(matrix, above, out);
  expect(formedRows(weight)).toBe(192);
  const scratch = allocateFormed(gpu, [weight]);
  using run = new Run(gpu);
  const squares = run.keep(run.allocate("squares", [1, out]));
  const formed = {
    held: () => undefined,
    record: (on: Run, _: string, first: number, target: Placed) =>
      recordGemm(on, { order: "NN", a: sliceRows(left, first, target.shape[0]), b: right, y: target }),
  };
  recordSquares(run, formed, { name: "m", weight, squares }, scratch);
  await run.submit();
  const wanted = Float64Array.from({ length: out }, (_, row) => {
    let sum = 0;
    for (let col = 0; col < input; col++) {
      let value = itemAt(w.matrix.data, (above + row) * input + col);
      for (let k = 0; k < rank; k++) {
        value += itemAt(b.matrix.data, row * rank + k) * itemAt(a.matrix.data, k * input + col);
      }
      sum += value * value;
    }
    return sum;
  });
  expect(error((await take(gpu, squares)).values, wanted)).toBeLessThan(1e-6);
  expect(() => recordSquares(run, formed, { name: "m", weight, squares }, undefined)).toThrow("no room");
});

type Placed = ReturnType<typeof place>;
