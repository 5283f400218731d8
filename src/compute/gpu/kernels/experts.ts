import expertRowsText from "./expert-rows.wgsl" with { type: "text" };
import groupBiasText from "./group-bias.wgsl" with { type: "text" };
import { constants, kernelFamily } from "./family.ts";
import { uniformStruct } from "./parameters.ts";
import placedRowsText from "./placed-rows.wgsl" with { type: "text" };
import routerWeightsText from "./router-weights.wgsl" with { type: "text" };

/** Parameters of router-weights.wgsl. */
const routerWeightsParameters = uniformStruct({
  experts: "u32",
  chosen: "u32", // of each token
  amongChosen: "flag", // the sum is over those alone
  logistic: "flag", // of each logit, and no softmax
  logits: "elements",
  ids: "elements",
  y: "elements",
  dy: "elements",
  dlogits: "elements",
});

/** Parameters of expert-rows.wgsl. */
const expertRowsParameters = uniformStruct({
  pairs: "u32",
  chosen: "u32", // of each token
  experts: "u32",
  ids: "elements",
  places: "elements",
  beginsAt: "u32",
});

/** Parameters of placed-rows.wgsl. */
const placedRowsParameters = uniformStruct({
  each: "u32", // places of a row
  width: "u32", // vectors of 4 in a row of x
  flags: "u32",
  scale: "f32",
  x: "vectors",
  places: "elements",
  factors: "elements",
  residual: "vectors",
  dy: "vectors",
  y: "vectors",
});

/** Parameters of group-bias.wgsl. */
const groupBiasParameters = uniformStruct({
  groups: "u32",
  cols: "u32",
  firstRow: "u32", // of those in the binding
  rows: "u32",
  width: "u32", // sums that workgroups side by side handle
  beginsAt: "u32",
  biasAt: "u32",
  x: "elements",
  y: "elements",
});

/** Columns, or sums, that one workgroup handles. */
export const GROUP_BIAS_COLUMNS = 64;

/** Flags of placed-rows.wgsl. */
export const PLACED_ROWS_FLAGS = { hasFactors: 1, hasResidual: 2 } as const;

/** Vectors of 4 columns that one workgroup of "spread" and "mix" handles. */
export const PLACED_ROWS_WIDTH = 64;

const router = kernelFamily("router-weights", routerWeightsText, routerWeightsParameters);
const ordering = kernelFamily("expert-rows", expertRowsText, expertRowsParameters);
const placed = kernelFamily("placed-rows", placedRowsText, placedRowsParameters, {
  constants: constants(PLACED_ROWS_FLAGS),
});

export const ROUTER_WEIGHTS_KERNELS = {
  weights: router({ PASS: "weights", THREADS: 64 }),
  gradient: router({ PASS: "gradient", THREADS: 64 }),
} as const;

const groupBias = kernelFamily("group-bias", groupBiasText, groupBiasParameters);

export const GROUP_BIAS_KERNELS = { add: groupBias({ KIND: "add" }), sums: groupBias({ KIND: "sums" }) } as const;

export const EXPERT_ROWS_KERNEL = ordering({ THREADS: 256 });

export const PLACED_ROWS_KERNELS = {
  spread: placed({ KIND: "spread", THREADS: PLACED_ROWS_WIDTH }),
  mix: placed({ KIND: "mix", THREADS: PLACED_ROWS_WIDTH }),
  factors: placed({ KIND: "factors", THREADS: 64 }),
} as const;
