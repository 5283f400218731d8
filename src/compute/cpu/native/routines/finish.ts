import type { Machine } from "../machine.ts";
import { indexOf, registers } from "./arguments.ts";
import { eachVector } from "./vectors.ts";

const FINISH = {
  from: "address",
  fromPitch: "number",
  y: "address",
  yPitch: "number",
  rows: "number",
  /** Columns, in fours. */
  fours: "number",
  bias: "address",
  residual: "address",
  residualPitch: "number",
  scale: "f32",
} as const;

/** What is added to the sums. */
export interface Added {
  /** What y had. */
  readonly y: boolean;
  readonly bias: boolean;
  readonly residual: boolean;
}

/** y = scale · sums (+ y) (+ bias) (+ residual), of the rows and columns of a panel's sums. */
export function finish(m: Machine, adds: Added): void {
  const { from, fromPitch, y, yPitch, rows, fours, bias, residual, residualPitch, others } = registers(m, FINISH, 2);
  const [at = 0, left = 0] = others;
  const [scale, sum, other] = [0, 1, 2];
  m.broadcastArgument(scale, indexOf(FINISH, "scale"));
  m.steps(rows, 1, () => {
    m.zeroWord(at);
    eachVector(m, fours, left, (count, numbers) => {
      m.load(sum, { word: from, index: at }, count);
      m.multiply(sum, scale, sum);
      const sources = [
        [adds.y, y],
        [adds.bias, bias],
        [adds.residual, residual],
      ] as const;
      for (const [there, source] of sources) {
        if (!there) continue;
        m.load(other, { word: source, index: at }, count);
        m.add32(sum, other, sum);
      }
      m.store(sum, { word: y, index: at }, count);
      m.add(at, { bytes: numbers * 4 });
    });
    m.add(from, fromPitch);
    m.add(y, yPitch);
    if (adds.residual) m.add(residual, residualPitch);
  });
}
