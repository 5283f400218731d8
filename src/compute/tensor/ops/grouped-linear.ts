import { at, defineOp, type Matrix, matrixOf, requireShapes, zeros } from "../op.ts";

/**
 * y[r] = W_g x[r], where g is the group that row r belongs to: rows begins[g] … begins[g + 1] − 1 of x (rows, in) F32 are
 * multiplied with matrix g of the weight, (groups · out, in) as stored, one matrix below the other. begins (1, groups + 1) U32
 * ascends from 0 to the rows. Of matrices whose groups are empty nothing is read.
 */
export const groupedLinear = defineOp({
  inputs: { x: "needed", weight: "needed", begins: "needed" },
  outputs: { y: "needed" },
})<{
  /** Rows of the largest pass of a batch; see `linear`. */
  readonly rowsAtMost?: number | undefined;
}>({
  name: "grouped-linear",
  shape({ x, weight, begins }) {
    const groups = begins[1] - 1;
    const fits = begins[0] === 1 && groups >= 1 && weight[0] % groups === 0 && weight[1] === x[1];
    requireShapes("grouped-linear", { x, weight, begins }, fits, "x is rows×in, the weight groups · out×in");
    return { y: { shape: [x[0], weight[0] / groups] } };
  },
  forward(run, { x: a, weight: b, begins }, { rowsAtMost }, { y }) {
    run.compute("groupedGemm", { order: "NT", a, b, begins, rowsAtMost, y });
  },
  reference({ x, weight, begins }) {
    const groups = groupsOf(begins);
    const out = weight.shape[0] / (begins.shape[1] - 1);
    return {
      y: matrixOf(x.shape[0], out, (row, col) => {
        let sum = 0;
        for (let k = 0; k < x.shape[1]; k++) sum += at(x, row, k) * at(weight, (groups[row] ?? NaN) * out + col, k);
        return sum;
      }),
    };
  },
  derivative: {
    saves: (wanted) => [
      "begins",
      ...(wanted.has("x") ? ["weight" as const] : []),
      ...(wanted.has("weight") ? ["x" as const] : []),
    ],
    adds: ["weight"],
    backward(run, { inputs: { x, weight, begins }, gradients: { y: dy }, into }) {
      if (dy === undefined) return;
      if (into.x !== undefined) run.compute("groupedGemm", { order: "NN", a: dy, b: weight, begins, y: into.x });
      if (into.weight !== undefined) {
        run.compute("groupedGemm", { order: "TN", a: dy, b: x, begins, y: into.weight });
      }
    },
    gradient({ x, weight, begins }, _, { y: dy }) {
      const groups = groupsOf(begins);
      const out = dy.shape[1];
      const [dx, dweight] = [zeros(...x.shape), zeros(...weight.shape)];
      groups.forEach((group, row) => {
        for (let col = 0; col < out; col++) {
          for (let k = 0; k < x.shape[1]; k++) {
            const [inX, inWeight] = [row * x.shape[1] + k, (group * out + col) * x.shape[1] + k];
            dx.data[inX] = (dx.data[inX] ?? NaN) + at(dy, row, col) * (weight.data[inWeight] ?? NaN);
            dweight.data[inWeight] = (dweight.data[inWeight] ?? NaN) + at(dy, row, col) * (x.data[inX] ?? NaN);
          }
        }
      });
      return { x: dx, weight: dweight };
    },
  },
});

/** The group of each row. */
export function groupsOf({ data }: Matrix): number[] {
  return Array.from(data.subarray(1)).flatMap((end, group) => Array<number>(end - (data[group] ?? 0)).fill(group));
}
