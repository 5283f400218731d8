import type { Activation } from "../../compute/tensor/elementwise.ts";
import { OPS } from "../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import { sliceCols, type Tensor } from "../../compute/tensor/tensor.ts";
import { type Linears, projectGroups } from "./linears.ts";
import { type Mlp, recordMlp } from "./mlp.ts";
import type { Norm } from "./norm.ts";
import { recordInput, type Stream, streamOf } from "./stream.ts";

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

/** A mixture of experts: gated MLPs, of which each token goes to some (Shazeer et al., arXiv:1701.06538). */
export interface Experts<W = Tensor> extends Routing {
  readonly kind: "experts";
  readonly activation: Activation;
  /** (experts, width of x): logits of each token. */
  readonly router: W;
  /** (1, experts), of those logits. */
  readonly routerBias?: W | undefined;
  /** Gate and up of each expert, one below the other: (experts · 2 · inner, width of x). */
  readonly gateUp: W;
  /** Those of each expert's rows, one behind the other. */
  readonly gateUpBias?: W | undefined;
  /** (experts · width of x, inner). */
  readonly down: W;
  readonly downBias?: W | undefined;
  /** Gate and up of a neuron are one row below the other, and are clamped to this; see OPS.clampedGate (gpt-oss). */
  readonly clamp?: number | undefined;
  /** Added to the logistic function of the logits where experts are chosen, and not to their weights: (1, experts) F32 (LFM2-MoE). */
  readonly selection?: W | undefined;
  /** An MLP that all tokens go through, times the logistic function of one logit of each token (Qwen2-MoE). */
  readonly shared?: SharedExpert<W> | undefined;
}

/** The expert of all tokens. */
export interface SharedExpert<W = Tensor> {
  /** (1, width of x). */
  readonly gate: W;
  readonly mlp: Mlp<W>;
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
  const {
    router,
    routerBias: bias,
    gateUp,
    gateUpBias,
    down,
    downBias,
    count,
    shared,
    amongChosen,
    logistic,
  } = experts;
  const { x, normed } = recordInput(recorder, norm, stream);
  const logits = linears.apply(recorder, { x: normed, weight: router, bias, residual: undefined });
  const ids = choose(recorder, experts, logits);
  const { y: weights } = recorder.apply(OPS.routerWeights, { logits, experts: ids }, { amongChosen, logistic });
  const { places, begins } = recorder.apply(OPS.expertRows, { experts: ids }, { experts: count });
  const { y: rows } = recorder.apply(OPS.spreadRows, { x: normed, places }, {});
  recorder.release(logits, ids);
  const rowsAtMost = linears.rowsAtMost === undefined ? undefined : linears.rowsAtMost * experts.chosen;
  const project = (input: Tensor, weight: Tensor, ofGroups: Tensor | undefined) => {
    const product = projectGroups(recorder, linears, { x: input, weight, begins, rowsAtMost });
    recorder.release(input);
    if (ofGroups === undefined) return product;
    const { y } = recorder.apply(OPS.groupBias, { x: product, bias: ofGroups, begins }, {});
    recorder.release(product);
    return y;
  };
  const active = recordGate(recorder, experts, project(rows, gateUp, gateUpBias));
  const results = project(active, down, downBias);
  const residual = shared === undefined ? x : recordShared(recorder, linears, shared, factor, normed, x);
  const scale = factor * (experts.factor ?? 1);
  const { y } = recorder.apply(OPS.mixRows, { x: results, places, factors: weights, residual }, { scale });
  const used = [normed, residual].filter((tensor) => tensor !== x);
  recorder.release(results, places, begins, weights, ...used, ...(x === stream.x ? [] : [x]));
  return streamOf(y);
}

/** Records what goes into the last matrices, of gates and ups, which are released. */
function recordGate(recorder: Recorder, { clamp, activation: kind }: Experts, given: Tensor): Tensor {
  const size = given.shape[1] / 2;
  const both =
    clamp === undefined ? given : recorder.apply(OPS.regroup, { x: given }, { groups: size, sizes: [1, 1] }).y;
  const halves = { gate: sliceCols(both, 0, size), up: sliceCols(both, size, size) };
  const { y } =
    clamp === undefined
      ? recorder.apply(OPS.gatedActivation, halves, { kind })
      : recorder.apply(OPS.clampedGate, halves, { limit: clamp });
  recorder.release(...new Set([given, both]));
  return y;
}

/** Records which experts each token goes to. */
function choose(recorder: Recorder, { chosen: k, selection }: Experts, logits: Tensor): Tensor {
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

/** Records residual + factor · logistic(gate x) · mlp(x): a mixture of one expert, which all tokens go to. */
function recordShared(
  recorder: Recorder,
  linears: Linears,
  { gate, mlp }: SharedExpert,
  factor: number,
  x: Tensor,
  residual: Tensor,
): Tensor {
  const { y: active } = recordMlp(recorder, linears, undefined, mlp, streamOf(x));
  const { weight, bias } = mlp.output;
  const result = linears.apply(recorder, { x: active, weight, bias, residual: undefined });
  const logits = linears.apply(recorder, { x, weight: gate, bias: undefined, residual: undefined });
  const { values, ids } = recorder.apply(OPS.topK, { x: logits }, { k: 1 });
  const attributes = { amongChosen: false, logistic: true };
  const { y: factors } = recorder.apply(OPS.routerWeights, { logits, experts: ids }, attributes);
  const { places, begins } = recorder.apply(OPS.expertRows, { experts: ids }, { experts: 1 });
  const { y } = recorder.apply(OPS.mixRows, { x: result, places, factors, residual }, { scale: factor });
  recorder.release(active, result, logits, values, ids, factors, places, begins);
  return y;
}
