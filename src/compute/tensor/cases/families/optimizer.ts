// What a training step does last: the loss, the norm of the gradients, AdamW.
import { STEP_STATE, STEP_STATE_BYTES } from "../../../device/families/optimizer.ts";
import { at, matrixOf } from "../../op.ts";
import type { Run } from "../../run.ts";
import { type FamilyCase, placed, placedAs, sum } from "./case.ts";

const SIZE = 64 * 5;

/** The words of a step that has a loss already, and whose gradients are halved. */
const state = (run: Run) =>
  placedAs(
    run,
    matrixOf(1, STEP_STATE_BYTES / 4, (_, word) =>
      word === STEP_STATE.loss ? 3 : word === STEP_STATE.coefficient ? 0.5 : 0,
    ),
  );

export const OPTIMIZER_CASES: readonly FamilyCase[] = [
  {
    family: "lossSum",
    format: "F32",
    name: "added",
    record(run) {
      const [losses, sums] = [placed(run, 300, 1), state(run)];
      run.compute("lossSum", { losses, weight: 0.5, sums, slot: STEP_STATE.loss, first: false });
      const loss = 3 + 0.5 * sum(300, (row) => at(losses.matrix, row, 0));
      const wanted = matrixOf(1, sums.shape[1], (_, word) =>
        word === STEP_STATE.loss ? loss : at(sums.matrix, 0, word),
      );
      return [{ of: "loss", tensor: sums, wanted }];
    },
  },
  ...[1, 1e6].map((clip): FamilyCase => ({
    family: "gradientNorm",
    format: "F32",
    name: `clipped to ${clip}`,
    record(run) {
      const gradients = [placed(run, 1, SIZE), placed(run, 1, SIZE)];
      const to = state(run);
      const parts = gradients.map(({ buffer }) => ({ buffer, size: SIZE }));
      run.compute("gradientNorm", { gradients: parts, clip, state: to.buffer });
      const squares = gradients.map(({ matrix }) => sum(SIZE, (col) => at(matrix, 0, col) ** 2));
      const norm = Math.sqrt(squares.reduce((total, one) => total + one, 0));
      const words = { ...STEP_STATE, loss: 3, norm, coefficient: Math.min(1, clip / (norm + 1e-6)), halted: 0 };
      const wanted = matrixOf(
        1,
        4,
        (_, word) => [words.loss, words.norm, words.coefficient, words.halted][word] ?? NaN,
      );
      return [{ of: "norm", tensor: to, wanted, tolerance: 1e-6 }];
    },
  })),
  {
    family: "adamw",
    format: "F32",
    name: "",
    record(run) {
      const [value, gradient, mean] = [placed(run, 1, SIZE), placed(run, 1, SIZE), placed(run, 1, SIZE)];
      const square = placedAs(
        run,
        matrixOf(1, SIZE, (_, col) => Math.fround((col + 1) / SIZE)),
      );
      const [keep, meanWeight, squareKeep, squareWeight] = [0.99, 0.1, 0.999, 0.001];
      const [correction, epsilon, stepSize] = [0.5, 1e-8, 1e-2];
      const rates = { keep, meanWeight, squareKeep, squareWeight, correction, epsilon, stepSize };
      const buffers = { value: value.buffer, gradient: gradient.buffer, mean: mean.buffer, square: square.buffer };
      run.compute("adamw", { size: SIZE, ...buffers, state: state(run).buffer, ...rates });
      const each = (of: (col: number) => number) => matrixOf(1, SIZE, (_, col) => of(col));
      const g = (col: number) => 0.5 * at(gradient.matrix, 0, col);
      const m = (col: number) => at(mean.matrix, 0, col) + meanWeight * (g(col) - at(mean.matrix, 0, col));
      const v = (col: number) => squareKeep * at(square.matrix, 0, col) + squareWeight * g(col) ** 2;
      const step = (col: number) => (stepSize * m(col)) / (Math.sqrt(v(col)) / correction + epsilon);
      return [
        { of: "value", tensor: value, wanted: each((col) => keep * at(value.matrix, 0, col) - step(col)) },
        { of: "mean", tensor: mean, wanted: each(m) },
        { of: "square", tensor: square, wanted: each(v) },
        { of: "gradient", tensor: gradient, wanted: each(() => 0) },
      ];
    },
  },
];
