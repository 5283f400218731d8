import type { GatedDelta, GatedDeltaGradient, Regroup } from "../../device/families/gated-delta.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { cpuKernel, type Members, type Values } from "../parameters.ts";
import { rowPieces } from "../pieces.ts";

const DELTA_OPERANDS = {
  tokens: "u32",
  heads: "u32",
  keyHeads: "u32",
  keySize: "u32",
  valueSize: "u32",
  block: "u32",
  qk: "matrix",
  v: "matrix",
  gates: "matrix",
  decays: "row",
  first: "row",
  states: "target",
} as const satisfies Members;

/** A head each. */
export const GATED_DELTA = cpuKernel("gatedDelta", {
  ...DELTA_OPERANDS,
  rows: "row",
  firstPosition: "u32",
  y: "target",
});

/** Tokens of a chunk, and numbers of a head's key or value, at most: what machine code's scratch has room for. */
export const [MOST_CHUNK, MOST_SIZE] = [64, 128];

/** A head of keys each. */
export const GATED_DELTA_GRADIENT = cpuKernel("gatedDeltaGradient", {
  ...GATED_DELTA.members,
  dy: "matrix",
  dqk: "target",
  dv: "target",
  dgates: "target",
});

/** Tokens for which the module walks. */
const FEW_TOKENS = 4;

const GATED_DELTA_FMA = { ...GATED_DELTA, fma: true } as const;
const GATED_DELTA_GRADIENT_FMA = { ...GATED_DELTA_GRADIENT, fma: true } as const;

export const REGROUP = cpuKernel("regroup", {
  rows: "u32",
  cols: "u32",
  groups: "u32",
  /** Of the parts of a group; 0 for those that there are not. */
  size0: "u32",
  size1: "u32",
  size2: "u32",
  size3: "u32",
  inverse: "flag",
  padded: "flag",
  x: "matrix",
  y: "target",
  pieceRows: "u32",
});

type Shared = Pick<GatedDelta, "qk" | "v" | "gates" | "decays" | "first" | "keyHeads" | "block" | "states">;

function given({ qk, v, gates, decays, first, keyHeads, block, states }: Shared): Values<typeof DELTA_OPERANDS> {
  const heads = gates.shape[1] / 2;
  return {
    tokens: v.shape[0],
    heads,
    keyHeads,
    keySize: qk.shape[1] / 2 / keyHeads,
    valueSize: v.shape[1] / heads,
    block,
    qk,
    v,
    gates,
    decays,
    first,
    states,
  };
}

function fits({ keySize, valueSize }: Pick<Values<typeof DELTA_OPERANDS>, "keySize" | "valueSize">): boolean {
  return Math.max(keySize, valueSize) <= MOST_SIZE;
}

export function gatedDelta(on: Dispatcher, { rows, firstPosition, y, ...operands }: GatedDelta): void {
  const values = given(operands);
  // The bits are the same. Of few tokens the module's walk takes less time, as a state is transposed for the other one.
  const isFew = rows !== undefined || values.tokens < FEW_TOKENS;
  on.dispatch(
    !isFew && fits(values) && on.has(GATED_DELTA_FMA) ? GATED_DELTA_FMA : GATED_DELTA,
    { ...values, rows, firstPosition, y },
    values.heads * (rows === undefined ? 1 : values.tokens),
  );
}

export function gatedDeltaGradient(on: Dispatcher, { dy, dqk, dv, dgates, ...operands }: GatedDeltaGradient): void {
  const values = given(operands);
  on.dispatch(
    values.block <= MOST_CHUNK && fits(values) && on.has(GATED_DELTA_GRADIENT_FMA)
      ? GATED_DELTA_GRADIENT_FMA
      : GATED_DELTA_GRADIENT,
    { ...values, rows: undefined, firstPosition: 0, y: undefined, dy, dqk, dv, dgates },
    operands.keyHeads,
  );
}

export function regroup(on: Dispatcher, { x, groups, sizes, inverse, padded, y }: Regroup): void {
  const rows = x.shape[0];
  const cols = (inverse ? y : x).shape[1];
  const { pieceRows, count } = rowPieces(rows, cols);
  const [size0 = 0, size1 = 0, size2 = 0, size3 = 0] = sizes;
  on.dispatch(REGROUP, { rows, cols, groups, size0, size1, size2, size3, inverse, padded, x, y, pieceRows }, count);
}
