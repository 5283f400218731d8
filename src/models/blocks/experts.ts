import type { Activation } from "../../compute/tensor/elementwise.ts";
import { OPS } from "../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import { recordHalves } from "./columns.ts";
import { type Linears, projectGroups } from "./linears.ts";
import { type Mlp, recordMlp } from "./mlp.ts";
import { type Norm, recordNorm } from "./norm.ts";
import { type Ending, recordEnding, recordInput, recordOutput, type Stream, streamOf } from "./stream.ts";

/** A mixture of experts: gated MLPs, of which each token goes to some (Shazeer et al., arXiv:1701.06538). */
export interface Experts<W = Tensor> extends Router<W> {
  readonly kind: "experts";
  readonly activation: Activation;
  /** Gate and up of each expert, one below the other: (experts · 2 · inner, width of x). */
  readonly gateUp: W;
  /** Those of each expert's rows, one behind the other. */
  readonly gateUpBias?: W | undefined;
  /** (experts · width of x, inner). */
  readonly down: W;
  readonly downBias?: W | undefined;
  /** Gate and up of a neuron are one row below the other, and are clamped to this; see OPS.clampedGate (gpt-oss). */
  readonly clamp?: number | undefined;
  /** An MLP that all tokens go through, times the logistic function of one logit of each token (Qwen2-MoE) or as it is. */
  readonly shared?: SharedExpert<W> | undefined;
  /** What the result of each expert is multiplied by: (1, experts) F32 (Gemma 4). */
  readonly scales?: W | undefined;
  /** An MLP of the block's input, whose result and that of the experts are each normalized before they are added (Gemma 4). */
  readonly beside?: MlpBeside<W> | undefined;
}

/** The expert of all tokens. */
export interface SharedExpert<W = Tensor> {
  /** (1, width of x); undefined: its result is added as it is (GLM-4.5). */
  readonly gate: W | undefined;
  readonly mlp: Mlp<W>;
}

/** An MLP beside experts, and the norms before it, behind it and behind the experts. */
export interface MlpBeside<W = Tensor> {
  readonly before: Norm<W>;
  readonly mlp: Mlp<W>;
  readonly after: Norm<W>;
  readonly afterExperts: Norm<W>;
}

/** Records what the stream becomes by x + factor · experts(norm(x)), or what an MLP beside them makes of it; its tensors are not released. */
export function recordExperts(
  recorder: Recorder,
  linears: Linears,
  norm: Norm | undefined,
  experts: Experts,
  ending: Ending,
  stream: Stream,
): Stream {
  const { shared, beside, routerNorm } = experts;
  const { factor = 1 } = ending;
  const { x, normed } = recordInput(recorder, norm, stream);
  const routed = routerNorm === undefined ? normed : recordNorm(recorder, routerNorm, x);
  const ownSum = shared === undefined ? x : recordShared(recorder, linears, shared, factor, normed, x);
  const residual = beside === undefined ? ownSum : undefined;
  const y = recordMixture(recorder, linears, experts, { x: normed, routed, residual, factor });
  recorder.release(...[...new Set([normed, routed, ownSum])].filter((tensor) => tensor !== x));
  const result = beside === undefined ? streamOf(y) : recordBeside(recorder, linears, beside, ending, y, x);
  if (x !== stream.x && x !== result.x) recorder.release(x);
  return result;
}

/** What a mixture reads, and what its result times `factor` is added to. */
interface MixtureInputs {
  readonly x: Tensor;
  /** What the router reads. */
  readonly routed: Tensor;
  readonly residual: Tensor | undefined;
  readonly factor: number;
}

/** Records residual + factor · experts(x), and releases none of its inputs. */
function recordMixture(
  recorder: Recorder,
  linears: Linears,
  experts: Experts,
  { x, routed, residual, factor }: MixtureInputs,
): Tensor {
  const { gateUp, gateUpBias, down, downBias, count } = experts;
  const { ids, weights } = recordRouting(recorder, linears, experts, routed);
  const { places, begins } = recorder.apply(OPS.expertRows, { experts: ids }, { experts: count });
  const { y: rows } = recorder.apply(OPS.spreadRows, { x, places }, {});
  const rowsAtMost = linears.rowsAtMost === undefined ? undefined : linears.rowsAtMost * experts.chosen;
  const project = (input: Tensor, weight: Tensor, ofGroups: Tensor | undefined) => {
    const projected = projectGroups(recorder, linears, { x: input, weight, begins, ids, places, rowsAtMost });
    recorder.release(input);
    if (ofGroups === undefined) return projected;
    const { y } = recorder.apply(OPS.groupBias, { x: projected, bias: ofGroups, begins }, {});
    recorder.release(projected);
    return y;
  };
  const gated = recordGate(recorder, experts, project(rows, gateUp, gateUpBias));
  const active = experts.scales === undefined ? gated : recordScaled(recorder, experts.scales, begins, gated);
  const results = project(active, down, downBias);
  const scale = factor * (experts.factor ?? 1);
  const { y } = recorder.apply(OPS.mixRows, { x: results, places, factors: weights, residual }, { scale });
  recorder.release(results, ids, places, begins, weights);
  return y;
}

/**
 * Records rows times what the results of their experts are multiplied by, and releases them: what goes into the last matrix has fewer
 * columns than what comes of it.
 * @param scales (1, experts)
 */
function recordScaled(recorder: Recorder, scales: Tensor, begins: Tensor, x: Tensor): Tensor {
  const [count, cols] = x.shape;
  const zeros = recorder.upload("zeros", [count, 1], new Float32Array(count));
  const ones = recorder.upload("ones", [cols, 1], new Float32Array(cols).fill(1));
  const { y: factors } = recorder.apply(OPS.groupBias, { x: zeros, bias: scales, begins }, {});
  const operands = { x: factors, weight: ones, bias: undefined, residual: undefined };
  const { y: b } = recorder.apply(OPS.linear, operands, {});
  const { y } = recorder.apply(OPS.multiply, { a: x, b }, {});
  // Not what was uploaded: a pass that is recorded once needs it as long as it is sent.
  recorder.release(x, factors, b);
  return y;
}

/** Records x and what a block's ending makes of after(mlp(before(x))) + afterExperts(mixed), and releases `mixed`. */
function recordBeside(
  recorder: Recorder,
  linears: Linears,
  { before, mlp, after, afterExperts }: MlpBeside,
  ending: Ending,
  mixed: Tensor,
  x: Tensor,
): Stream {
  const { y: active } = recordMlp(recorder, linears, before, mlp, streamOf(x));
  const dense = linears.apply(recorder, { x: active, ...mlp.output, residual: undefined });
  const [a, b] = [recordNorm(recorder, after, dense), recordNorm(recorder, afterExperts, mixed)];
  const { y: sum } = recorder.apply(OPS.add, { a, b }, {});
  recorder.release(active, dense, mixed, a, b);
  return recordEnding(recorder, linears, ending, sum, x);
}

/** Records what goes into the last matrices, of gates and ups, which are released. */
function recordGate(recorder: Recorder, { clamp, activation: kind }: Experts, given: Tensor): Tensor {
  const size = given.shape[1] / 2;
  const both =
    clamp === undefined ? given : recorder.apply(OPS.regroup, { x: given }, { groups: size, sizes: [1, 1] }).y;
  if (both !== given) recorder.release(given);
  const { halves: parts, held } = recordHalves(recorder, both);
  const halves = { gate: parts[0], up: parts[1] };
  const { y } =
    clamp === undefined
      ? recorder.apply(OPS.gatedActivation, halves, { kind })
      : recorder.apply(OPS.clampedGate, halves, { limit: clamp });
  recorder.release(held);
  return y;
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
  if (gate === undefined) return recordOutput(recorder, linears, mlp.output, { factor }, active, residual).x;
  const result = linears.apply(recorder, { x: active, ...mlp.output, residual: undefined });
  const logits = linears.apply(recorder, { x, weight: gate, bias: undefined, residual: undefined });
  const { values, ids } = recorder.apply(OPS.topK, { x: logits }, { k: 1 });
  const attributes = { amongChosen: false, logistic: true };
  const { y: factors } = recorder.apply(OPS.routerWeights, { logits, experts: ids }, attributes);
  const { places, begins } = recorder.apply(OPS.expertRows, { experts: ids }, { experts: 1 });
  const { y } = recorder.apply(OPS.mixRows, { x: result, places, factors, residual }, { scale: factor });
  recorder.release(active, result, logits, values, ids, factors, places, begins);
  return y;
}

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
interface Router<W = Tensor> extends Routing {
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
function recordRouting(
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
