import type { GatedDelta, GatedDeltaGradient, Regroup } from "../../device/families/gated-delta.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { optional, pitchBytes, pointer } from "../operands.ts";
import type { CpuKernel, Members, Values } from "../parameters.ts";
import { rowPieces } from "../pieces.ts";

const DELTA_OPERANDS = {
  tokens: "u32",
  heads: "u32",
  keyHeads: "u32",
  keySize: "u32",
  valueSize: "u32",
  block: "u32",
  qk: "pointer",
  qkPitch: "u32",
  v: "pointer",
  vPitch: "u32",
  gates: "pointer",
  gatesPitch: "u32",
  decays: "pointer",
  first: "pointer",
  states: "pointer",
  statesPitch: "u32",
} as const satisfies Members;

/** A head each. */
export const GATED_DELTA = {
  name: "gatedDelta",
  members: { ...DELTA_OPERANDS, rows: "pointer", firstPosition: "u32", y: "pointer", yPitch: "u32" },
} as const satisfies CpuKernel<Members>;

/** A head of keys each. */
export const GATED_DELTA_GRADIENT = {
  name: "gatedDeltaGradient",
  members: {
    ...GATED_DELTA.members,
    dy: "pointer",
    dyPitch: "u32",
    dqk: "pointer",
    dqkPitch: "u32",
    dv: "pointer",
    dvPitch: "u32",
    dgates: "pointer",
    dgatesPitch: "u32",
  },
} as const satisfies CpuKernel<Members>;

export const REGROUP = {
  name: "regroup",
  members: {
    rows: "u32",
    cols: "u32",
    groups: "u32",
    /** Of the parts of a group; 0 for those that there are not. */
    size0: "u32",
    size1: "u32",
    size2: "u32",
    size3: "u32",
    inverse: "flag",
    x: "pointer",
    xPitch: "u32",
    y: "pointer",
    yPitch: "u32",
    pieceRows: "u32",
  },
} as const satisfies CpuKernel<Members>;

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
    qk: pointer(qk),
    qkPitch: pitchBytes(qk),
    v: pointer(v),
    vPitch: pitchBytes(v),
    gates: pointer(gates),
    gatesPitch: pitchBytes(gates),
    decays: pointer(decays),
    first: optional(first),
    states: optional(states, "write"),
    statesPitch: pitchBytes(states),
  };
}

export function gatedDelta(on: Dispatcher, { rows, firstPosition, y, ...operands }: GatedDelta): void {
  const values = given(operands);
  on.dispatch(
    GATED_DELTA,
    { ...values, rows: optional(rows), firstPosition, y: pointer(y, "write"), yPitch: pitchBytes(y) },
    values.heads * (rows === undefined ? 1 : values.tokens),
  );
}

export function gatedDeltaGradient(on: Dispatcher, { dy, dqk, dv, dgates, ...operands }: GatedDeltaGradient): void {
  on.dispatch(
    GATED_DELTA_GRADIENT,
    {
      ...given(operands),
      rows: undefined,
      firstPosition: 0,
      y: undefined,
      yPitch: 0,
      dy: pointer(dy),
      dyPitch: pitchBytes(dy),
      dqk: pointer(dqk, "write"),
      dqkPitch: pitchBytes(dqk),
      dv: pointer(dv, "write"),
      dvPitch: pitchBytes(dv),
      dgates: pointer(dgates, "write"),
      dgatesPitch: pitchBytes(dgates),
    },
    operands.keyHeads,
  );
}

export function regroup(on: Dispatcher, { x, groups, sizes, inverse, y }: Regroup): void {
  const [rows, cols] = x.shape;
  const { pieceRows, count } = rowPieces(rows, cols);
  const [size0 = 0, size1 = 0, size2 = 0, size3 = 0] = sizes;
  on.dispatch(
    REGROUP,
    {
      rows,
      cols,
      groups,
      size0,
      size1,
      size2,
      size3,
      inverse,
      x: pointer(x),
      xPitch: pitchBytes(x),
      y: pointer(y, "write"),
      yPitch: pitchBytes(y),
      pieceRows,
    },
    count,
  );
}
