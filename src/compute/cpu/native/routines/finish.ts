import type { Count, Lanes, Machine, Word } from "../machine.ts";
import { indexOf, registers } from "./arguments.ts";
import { FEW_PITCH } from "./layout.ts";
import { eachVector } from "./vectors.ts";

/** Where sums go, and what is added to them. */
const TARGET = {
  y: "address",
  yPitch: "number",
  rows: "number",
  /** Columns, in fours. */
  fours: "number",
  bias: "address",
  residual: "address",
  residualPitch: "number",
} as const;

const FINISH = {
  from: "address",
  fromPitch: "number",
  ...TARGET,
  scale: "f32",
} as const;

/** What is added to the sums. */
export interface Added {
  /** What y had. */
  readonly y: boolean;
  readonly bias: boolean;
  readonly residual: boolean;
}

/** sum = scale · what is at `from` (+ y) (+ bias) (+ residual). */
function first(
  m: Machine,
  { sum, scale, other }: Readonly<Record<"sum" | "scale" | "other", Lanes>>,
  { from, at, y, bias, residual }: Readonly<Record<"from" | "at" | "y" | "bias" | "residual", Word>>,
  adds: Added,
  count: Count,
): void {
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
      first(m, { sum, scale, other }, { from, at, y, bias, residual }, adds, count);
      m.store(sum, { word: y, index: at }, count);
      m.add(at, { bytes: numbers * 4 });
    });
    m.add(from, fromPitch);
    m.add(y, yPitch);
    if (adds.residual) m.add(residual, residualPitch);
  });
}

const FINISH_FEW = {
  from: "address",
  ...TARGET,
  /** Bytes from the partial sums of some terms to those of the next, and how many follow the first ones. */
  next: "number",
  following: "f32",
  scale: "f32",
} as const;

/** The same of partial sums of few rows, `FEW_PITCH` apart: one after the other they are added to y. */
export function finishFew(m: Machine, adds: Added): void {
  const { from, y, yPitch, rows, fours, bias, residual, residualPitch, next, others } = registers(m, FINISH_FEW, 4);
  const [at = 0, left = 0, here = 0, parts = 0] = others;
  const [scale, sum, other] = [0, 1, 2];
  m.broadcastArgument(scale, indexOf(FINISH_FEW, "scale"));
  m.steps(rows, 1, () => {
    m.zeroWord(at);
    eachVector(m, fours, left, (count, numbers) => {
      first(m, { sum, scale, other }, { from, at, y, bias, residual }, adds, count);
      m.copy(here, from);
      m.argument(parts, indexOf(FINISH_FEW, "following"));
      m.steps(parts, 1, () => {
        m.add(here, next);
        m.load(other, { word: here, index: at }, count);
        m.multiply(other, scale, other);
        m.add32(sum, sum, other);
      });
      m.store(sum, { word: y, index: at }, count);
      m.add(at, { bytes: numbers * 4 });
    });
    m.add(from, { bytes: FEW_PITCH });
    m.add(y, yPitch);
    if (adds.residual) m.add(residual, residualPitch);
  });
}
