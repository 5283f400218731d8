import { OPS } from "../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import type { Linears } from "./linears.ts";
import type { Norm } from "./norm.ts";

/** How a mixture of experts chooses. */
export interface Routing {
  /** Experts that there are, and those that a token goes to: those with the largest logits. */
  readonly count: number;
  readonly chosen: number;
  /** Weights are a softmax over the chosen experts, else over all; see OPS.routerWeights. */
  readonly amongChosen: boolean;
  /** They are the logistic function of each logit instead, divided by their sum where they are among those chosen. */
  readonly logistic?: boolean;
  /** Multiplies what experts give; 1 by default. */
  readonly factor?: number;
}

/** What a mixture of experts chooses by. */
export interface Router<W = Tensor> extends Routing {
  /** (experts, width of x): logits of each token. */
  readonly router: W;
  /** (1, experts), of those logits. */
  readonly routerBias?: W | undefined;
  /** The router reads this norm of the block's input; undefined: what the experts read (Gemma 4). */
  readonly routerNorm?: Norm<W> | undefined;
  /** What logits are multiplied by; 1 by default. */
  readonly logitScale?: number | undefined;
  /** Added to the logistic function of the logits where experts are chosen, and not to their weights: (1, experts) F32 (LFM2-MoE). */
  readonly selection?: W | undefined;
}

/**
 * Records which experts each token goes to and what their results are multiplied by: (tokens, chosen) both.
 * @param x what the router reads, not released
 */
export function recordRouting(
  recorder: Recorder,
  linears: Linears,
  router: Router,
  x: Tensor,
): { readonly ids: Tensor; readonly weights: Tensor } {
  const { router: weight, routerBias: bias, logitScale: factor = 1, amongChosen, logistic } = router;
  const product = linears.apply(recorder, { x, weight, bias, residual: undefined });
  const logits = factor === 1 ? product : recorder.apply(OPS.scale, { x: product }, { factor }).y;
  const ids = choose(recorder, router, logits);
  const { y: weights } = recorder.apply(OPS.routerWeights, { logits, experts: ids }, { amongChosen, logistic });
  recorder.release(...new Set([product, logits]));
  return { ids, weights };
}

/** Records which experts each token goes to. */
function choose(recorder: Recorder, { chosen: k, selection }: Router, logits: Tensor): Tensor {
  if (selection === undefined) {
    const { values, ids } = recorder.apply(OPS.topK, { x: logits }, { k });
    recorder.release(values);
    return ids;
  }
  // 1 / (1 + exp(−x)) − 1/2 = tanh(x / 2) / 2, which has the same order.
  const { y: quarters } = recorder.apply(OPS.scale, { x: logits }, { factor: 0.25 });
  const { y: x } = recorder.apply(OPS.softcap, { x: quarters }, { cap: 0.5 });
  const scale = recorder.upload("ones", selection.shape, new Float32Array(selection.shape[1]).fill(1));
  const { y: scores } = recorder.apply(OPS.scaleColumns, { x, scale, bias: selection, residual: undefined }, {});
  const { values, ids } = recorder.apply(OPS.topK, { x: scores }, { k });
  // Not the ones: a pass that is recorded once needs them as long as it is sent.
  recorder.release(quarters, x, scores, values);
  return ids;
}
