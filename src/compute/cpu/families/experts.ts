import type {
  ExpertRows,
  MixFactors,
  MixRows,
  RouterWeights,
  RouterWeightsGradient,
  SpreadRows,
} from "../../device/families/experts.ts";
import type { Tensor } from "../../device/tensor.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { cpuKernel, type Values } from "../parameters.ts";
import { rowPieces } from "../pieces.ts";

/** Of the gradient, `dy` and `dlogits` are given; else `y`. */
export const ROUTER_WEIGHTS = cpuKernel("routerWeights", {
  tokens: "u32",
  experts: "u32",
  chosen: "u32",
  amongChosen: "flag",
  logistic: "flag",
  logits: "matrix",
  ids: "matrix",
  y: "target",
  dy: "matrix",
  dlogits: "target",
  pieceRows: "u32",
});

export const ROUTER_WEIGHTS_GRADIENT = { ...ROUTER_WEIGHTS, name: "routerWeightsGradient" } as const;

export const EXPERT_ROWS = cpuKernel("expertRows", {
  tokens: "u32",
  chosen: "u32",
  experts: "u32",
  ids: "matrix",
  places: "target",
  begins: "targetRow",
});

/** Rows of x by place, each row of `places` and factors belonging to a row of the other matrix. */
export const SPREAD_ROWS = cpuKernel("spreadRows", {
  rows: "u32",
  /** Places of a row. */
  each: "u32",
  /** Vectors of 4 in a row of x and y; of `mixFactors` in one of x and dy. */
  width: "u32",
  x: "matrix",
  places: "matrix",
  factors: "matrix",
  residual: "matrix",
  dy: "matrix",
  y: "target",
  scale: "f32",
  pieceRows: "u32",
});

export const MIX_ROWS = { ...SPREAD_ROWS, name: "mixRows" } as const;
export const MIX_FACTORS = { ...SPREAD_ROWS, name: "mixFactors" } as const;

/** What both directions of the weights are given. */
function routing(
  { amongChosen, logistic, logits, experts }: Pick<RouterWeights, "amongChosen" | "logistic" | "logits" | "experts">,
  others: { readonly y?: Tensor; readonly dy?: Tensor; readonly dlogits?: Tensor },
): { readonly values: Values<(typeof ROUTER_WEIGHTS)["members"]>; readonly count: number } {
  const [tokens, count] = logits.shape;
  const pieces = rowPieces(tokens, count);
  return {
    values: {
      tokens,
      experts: count,
      chosen: experts.shape[1],
      amongChosen,
      logistic,
      logits,
      ids: experts,
      y: others.y,
      dy: others.dy,
      dlogits: others.dlogits,
      pieceRows: pieces.pieceRows,
    },
    count: pieces.count,
  };
}

export function routerWeights(on: Dispatcher, { y, ...operands }: RouterWeights): void {
  const { values, count } = routing(operands, { y });
  on.dispatch(ROUTER_WEIGHTS, values, count);
}

export function routerWeightsGradient(on: Dispatcher, { dy, dlogits, ...operands }: RouterWeightsGradient): void {
  const { values, count } = routing(operands, { dy, dlogits });
  on.dispatch(ROUTER_WEIGHTS_GRADIENT, values, count);
}

export function expertRows(on: Dispatcher, { experts, places, begins }: ExpertRows): void {
  const [tokens, chosen] = experts.shape;
  on.dispatch(EXPERT_ROWS, { tokens, chosen, experts: begins.shape[1] - 1, ids: experts, places, begins }, 1);
}

function placed(
  on: Dispatcher,
  kernel: typeof SPREAD_ROWS | typeof MIX_ROWS | typeof MIX_FACTORS,
  operands: Omit<SpreadRows, "factors"> & {
    readonly factors?: Tensor | undefined;
    readonly residual?: Tensor | undefined;
    readonly dy?: Tensor;
  },
): void {
  const { x, places, factors, residual, dy, scale, y } = operands;
  const [rows, each] = places.shape;
  const [, cols] = x.shape;
  const { pieceRows, count } = rowPieces(rows, each * cols);
  on.dispatch(
    kernel,
    { rows, each, width: Math.ceil(cols / 4), x, places, factors, residual, dy, y, scale, pieceRows },
    count,
  );
}

export function spreadRows(on: Dispatcher, operands: SpreadRows): void {
  placed(on, SPREAD_ROWS, operands);
}

export function mixRows(on: Dispatcher, operands: MixRows): void {
  placed(on, MIX_ROWS, operands);
}

export function mixFactors(on: Dispatcher, operands: MixFactors): void {
  placed(on, MIX_FACTORS, operands);
}
