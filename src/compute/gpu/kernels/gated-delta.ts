import deltaText from "./gated-delta.wgsl" with { type: "text" };
import columnsText from "./gated-delta-columns.wgsl" with { type: "text" };
import rowsText from "./gated-delta-rows.wgsl" with { type: "text" };
import gatesText from "./gated-delta-gates.wgsl" with { type: "text" };
import regroupText from "./regroup.wgsl" with { type: "text" };
import { constants, kernelFamily } from "./family.ts";
import { uniformStruct } from "./parameters.ts";

/** What all three kernels read. */
const OPERANDS = {
  heads: "u32",
  keyHeads: "u32",
  valueSize: "u32",
  block: "u32",
  flags: "u32",
  queryScale: "f32",
  qk: "vectors",
  v: "elements",
  gates: "elements",
  decaysAt: "u32",
  firstsAt: "u32",
  states: "vectors",
} as const;

/** Parameters of gated-delta.wgsl. */
const gatedDeltaParameters = uniformStruct({
  ...OPERANDS,
  tokens: "u32", // of a text
  firstPosition: "u32",
  rowsAt: "u32",
  y: "elements",
});

/** Parameters of the gradients' kernels, which compute a block each. */
const gatedDeltaGradientParameters = uniformStruct({
  ...OPERANDS,
  begin: "u32", // the block's first token
  tokens: "u32", // in it
  isLast: "flag",
  slopesAt: "u32", // in vectors of the scratch, as what follows
  carryAt: "u32",
  numbersAt: "u32",
  dy: "elements",
  dqk: "vectors",
  dv: "elements",
  dgates: "elements",
});

/** Parameters of regroup.wgsl. */
const regroupParameters = uniformStruct({
  cols: "u32",
  groups: "u32",
  size0: "u32", // of the parts of a group; 0 for those that there are not
  size1: "u32",
  size2: "u32",
  size3: "u32",
  inverse: "flag",
  padded: "flag",
  x: "elements",
  y: "elements",
});

/** Flags of one dispatch. */
export const GATED_DELTA_FLAGS = { hasFirsts: 1, hasRows: 2, hasStates: 4 } as const;

/** Columns of a head, or of a row, that one workgroup handles. */
export const GATED_DELTA_WIDTH = 64;

const includes = { constants: constants(GATED_DELTA_FLAGS), gates: gatesText };
const forward = kernelFamily("gated-delta", deltaText, gatedDeltaParameters, includes);
const columns = kernelFamily("gated-delta-columns", columnsText, gatedDeltaGradientParameters, includes);
const rows = kernelFamily("gated-delta-rows", rowsText, gatedDeltaGradientParameters, includes);

/** The kernels for keys of so many vectors of 4: an invocation holds a column of a state. */
export function gatedDeltaKernels(keyVectors: number) {
  const variant = { VECTORS: keyVectors };
  return { forward: forward(variant), columns: columns(variant), rows: rows(variant) };
}

export const REGROUP_KERNEL = kernelFamily("regroup", regroupText, regroupParameters)({});
