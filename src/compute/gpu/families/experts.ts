import type {
  ExpertRows,
  MixFactors,
  MixRows,
  RouterWeights,
  RouterWeightsGradient,
  SpreadRows,
} from "../../device/families/experts.ts";
import type { Tensor } from "../../device/tensor.ts";
import type { Dispatcher } from "../context.ts";
import {
  EXPERT_ROWS_KERNEL,
  PLACED_ROWS_FLAGS,
  PLACED_ROWS_KERNELS,
  PLACED_ROWS_WIDTH,
  ROUTER_WEIGHTS_KERNELS,
} from "../kernels/experts.ts";

function routing(
  { amongChosen, logistic, logits, experts }: Pick<RouterWeights, "amongChosen" | "logistic" | "logits" | "experts">,
  { y, dy, dlogits }: { readonly y?: Tensor; readonly dy?: Tensor; readonly dlogits?: Tensor },
) {
  return {
    experts: logits.shape[1],
    chosen: experts.shape[1],
    amongChosen,
    logistic,
    logits,
    ids: experts,
    y,
    dy,
    dlogits,
  };
}

export function routerWeights(on: Dispatcher, { y, ...operands }: RouterWeights): void {
  const { logits, experts } = operands;
  const buffers = [logits, experts, y];
  on.dispatch(ROUTER_WEIGHTS_KERNELS.weights, routing(operands, { y }), buffers, [logits.shape[0]]);
}

export function routerWeightsGradient(on: Dispatcher, { dy, dlogits, ...operands }: RouterWeightsGradient): void {
  const { logits, experts } = operands;
  const buffers = [logits, experts, dy, dlogits];
  on.dispatch(ROUTER_WEIGHTS_KERNELS.gradient, routing(operands, { dy, dlogits }), buffers, [logits.shape[0]]);
}

export function expertRows(on: Dispatcher, { experts: ids, places, begins }: ExpertRows): void {
  const [tokens, chosen] = ids.shape;
  const experts = begins.shape[1] - 1;
  on.dispatch(
    EXPERT_ROWS_KERNEL,
    { pairs: tokens * chosen, chosen, experts, ids, places, beginsAt: begins.offset },
    [ids, places, begins],
    [experts],
  );
}

export function spreadRows(on: Dispatcher, { x, places, factors, scale, y }: SpreadRows): void {
  const [rows, each] = places.shape;
  const width = Math.ceil(x.shape[1] / 4);
  on.dispatch(
    PLACED_ROWS_KERNELS.spread,
    {
      each,
      width,
      flags: factors === undefined ? 0 : PLACED_ROWS_FLAGS.hasFactors,
      scale,
      x,
      places,
      factors,
      residual: undefined,
      dy: undefined,
      y,
    },
    [x, places, factors, y],
    [Math.ceil(width / PLACED_ROWS_WIDTH), each, rows],
  );
}

export function mixRows(on: Dispatcher, { x, places, factors, residual, scale, y }: MixRows): void {
  const [rows, each] = places.shape;
  const width = Math.ceil(x.shape[1] / 4);
  on.dispatch(
    PLACED_ROWS_KERNELS.mix,
    {
      each,
      width,
      flags:
        (factors === undefined ? 0 : PLACED_ROWS_FLAGS.hasFactors) |
        (residual === undefined ? 0 : PLACED_ROWS_FLAGS.hasResidual),
      scale,
      x,
      places,
      factors,
      residual,
      dy: undefined,
      y,
    },
    [x, places, factors, residual, y],
    [Math.ceil(width / PLACED_ROWS_WIDTH), rows],
  );
}

export function mixFactors(on: Dispatcher, { dy, x, places, scale, y }: MixFactors): void {
  const [rows, each] = places.shape;
  on.dispatch(
    PLACED_ROWS_KERNELS.factors,
    {
      each,
      width: Math.ceil(x.shape[1] / 4),
      flags: 0,
      scale,
      x,
      places,
      factors: undefined,
      residual: undefined,
      dy,
      y,
    },
    [x, places, dy, y],
    [Math.ceil(each / 4) * 4, rows],
  );
}
