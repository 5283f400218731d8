import type { Activation } from "../../compute/tensor/elementwise.ts";
import { OPS } from "../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import { sliceCols, type Tensor } from "../../compute/tensor/tensor.ts";
import { type Linears, projectGroups } from "./linears.ts";
import type { Norm } from "./norm.ts";
import { recordInput, type Stream, streamOf } from "./stream.ts";

/** How a mixture of experts chooses. */
export interface Routing {
  /** Experts that there are, and those that a token goes to: those with the largest logits. */
  readonly count: number;
  readonly chosen: number;
  /** Weights are a softmax over the chosen experts, else over all; see OPS.routerWeights. */
  readonly amongChosen: boolean;
}

/** A mixture of experts: gated MLPs, of which each token goes to some (Shazeer et al., arXiv:1701.06538). */
export interface Experts<W = Tensor> extends Routing {
  readonly kind: "experts";
  readonly activation: Activation;
  /** (experts, width of x): logits of each token. */
  readonly router: W;
  /** Gate and up of each expert, one below the other: (experts · 2 · inner, width of x). */
  readonly gateUp: W;
  /** (experts · width of x, inner). */
  readonly down: W;
}

/** Records what the stream becomes by x + factor · experts(norm(x)); its tensors are not released. */
export function recordExperts(
  recorder: Recorder,
  linears: Linears,
  norm: Norm | undefined,
  experts: Experts,
  factor: number,
  stream: Stream,
): Stream {
  const { router, gateUp, down, count, chosen, amongChosen, activation: kind } = experts;
  const { x, normed } = recordInput(recorder, norm, stream);
  const logits = linears.apply(recorder, { x: normed, weight: router, bias: undefined, residual: undefined });
  const { values, ids } = recorder.apply(OPS.topK, { x: logits }, { k: chosen });
  const { y: weights } = recorder.apply(OPS.routerWeights, { logits, experts: ids }, { amongChosen });
  const { places, begins } = recorder.apply(OPS.expertRows, { experts: ids }, { experts: count });
  const { y: rows } = recorder.apply(OPS.spreadRows, { x: normed, places }, {});
  recorder.release(logits, values, ids, ...(normed === x ? [] : [normed]));
  const rowsAtMost = linears.rowsAtMost === undefined ? undefined : linears.rowsAtMost * chosen;
  const project = (input: Tensor, weight: Tensor) => {
    const y = projectGroups(recorder, linears, { x: input, weight, begins, rowsAtMost });
    recorder.release(input);
    return y;
  };
  const both = project(rows, gateUp);
  const size = both.shape[1] / 2;
  const [gate, up] = [sliceCols(both, 0, size), sliceCols(both, size, size)];
  const { y: active } = recorder.apply(OPS.gatedActivation, { gate, up }, { kind });
  recorder.release(both);
  const results = project(active, down);
  const { y } = recorder.apply(OPS.mixRows, { x: results, places, factors: weights, residual: x }, { scale: factor });
  recorder.release(results, places, begins, weights, ...(x === stream.x ? [] : [x]));
  return streamOf(y);
}
