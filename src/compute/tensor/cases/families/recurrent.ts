// What goes on behind kept states: passes over parts of two texts, and one over a token of each.
import { sliceRows, type Tensor } from "../../../device/tensor.ts";
import { at, type Matrix, matrixOf } from "../../op.ts";
import { OPS } from "../../ops/index.ts";
import type { Run } from "../../run.ts";
import { ids, random } from "../case.ts";
import { place } from "../placed.ts";
import { type FamilyCase, type Placed, placed, placedAs, target } from "./case.ts";

const BLOCK = 4;
/** The state's row, the tokens and the position of each pass over one text: the second is in its second block, where the first ends. */
const PASSES = [
  { state: 0, row: 0, count: 3, firstPosition: 0 },
  { state: 0, row: 3, count: 6, firstPosition: 3 },
  { state: 3, row: 9, count: 2, firstPosition: 0 },
] as const;
/** Then one over the next of both, which are the rows behind, in states that begin at whole blocks. */
const LAST = { row: 11, rows: [9, 3 * BLOCK + 2], first: [0, 3 * BLOCK] } as const;
const TOKENS = 13;
/** Texts one after another, by the rows above, and the row that each token's text begins at. */
const ORDER = [0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 9, 10, 12];
const FIRST = ids(...ORDER.map((_, token) => (token < 10 ? 0 : 10)));

/** Where a pass stands, and the rows of what it is over. */
interface Pass {
  readonly of: (tensor: Tensor) => Tensor;
  readonly kept: Tensor;
  readonly place: {
    readonly first: Tensor | undefined;
    readonly rows: Tensor | undefined;
    readonly firstPosition: number;
  };
}

/** All passes, whose states are rows of `kept`. */
function passes(run: Run, kept: Tensor): Pass[] {
  const each = (values: readonly number[]) => place(run.device, ids(...values));
  const alone = PASSES.map(({ state, row, count, firstPosition }): Pass => {
    const own = sliceRows(kept, state, kept.shape[0] - state);
    const of = (tensor: Tensor) => sliceRows(tensor, row, count);
    return { of, kept: own, place: { first: undefined, rows: undefined, firstPosition } };
  });
  const of = (tensor: Tensor) => sliceRows(tensor, LAST.row, LAST.rows.length);
  const beside = { first: each(LAST.first), rows: each(LAST.rows), firstPosition: 0 };
  return [...alone, { of, kept, place: beside }];
}

/** Rows in the order of texts, and back. */
function inTexts({ matrix: { shape, data } }: Placed): Matrix {
  return matrixOf(...shape, (row, col) => at({ shape, data }, ORDER[row] ?? NaN, col));
}

function inPasses(matrix: Matrix): Matrix {
  return matrixOf(...matrix.shape, (row, col) => at(matrix, ORDER.indexOf(row), col));
}

export const RECURRENT_CASES: readonly FamilyCase[] = [
  {
    family: "gatedDelta",
    format: "F32",
    name: "behind kept states",
    record(run) {
      const [keyHeads, heads, keySize, valueSize] = [1, 2, 8, 4];
      const qk = placedAs(run, random(TOKENS, 2 * keyHeads * keySize, "F32", 0.5).matrix);
      const [v, gates, decays] = [
        placed(run, TOKENS, heads * valueSize),
        placed(run, TOKENS, 2 * heads),
        placed(run, 1, 2 * heads),
      ];
      const [y, kept] = [target(run, TOKENS, heads * valueSize), target(run, 5, heads * valueSize * keySize)];
      for (const { of, kept: states, place } of passes(run, kept)) {
        const operands = { qk: of(qk), v: of(v), gates: of(gates), decays, keyHeads };
        run.compute("gatedDelta", { ...operands, ...place, states, block: BLOCK, y: of(y) });
      }
      const inputs = { qk: inTexts(qk), v: inTexts(v), gates: inTexts(gates), decays: decays.matrix };
      const wanted = OPS.gatedDelta.reference({ ...inputs, first: FIRST.matrix }, { keyHeads });
      return [{ of: "y", tensor: y, wanted: inPasses(wanted.y) }];
    },
  },
  {
    family: "tailConvolution",
    format: "F32",
    name: "",
    record(run) {
      const [cols, taps] = [12, 4];
      const [x, weight] = [placed(run, TOKENS, cols), placed(run, 1, cols * taps)];
      const [y, kept] = [target(run, TOKENS, cols), target(run, 5, (taps - 1) * cols)];
      for (const { of, kept: tails, place } of passes(run, kept)) {
        run.compute("tailConvolution", { x: of(x), weight, ...place, tails, block: BLOCK, y: of(y) });
      }
      const inputs = { x: inTexts(x), gate: undefined, weight: weight.matrix, bias: undefined };
      const sight = { first: FIRST.matrix, last: undefined };
      const wanted = OPS.convolution.reference({ ...inputs, ...sight }, { firstPosition: 0 });
      return [{ of: "y", tensor: y, wanted: inPasses(wanted.y) }];
    },
  },
];
