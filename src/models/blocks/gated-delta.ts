import { OPS } from "../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import { sliceCols, sliceRows, type Tensor } from "../../compute/tensor/tensor.ts";
import type { Activation } from "../../compute/tensor/elementwise.ts";
import type { Linears } from "./linears.ts";
import { type Norm, recordNorm, type RmsNorm } from "./norm.ts";
import { type Begun, type Output, recordBegin, type Stream } from "./stream.ts";
import { BLOCK, type Filled, type Sight } from "./sight.ts";

/** Added to the sum of squares that queries and keys are divided by the root of. */
const EPSILON = 1e-6;

/**
 * Linear attention by the gated delta rule (Qwen3-Next, Qwen 3.5): queries, keys and values go through a short convolution and an
 * activation, queries and keys are brought to length 1, and what the rule makes of them is normalized and gated. See OPS.gatedDelta.
 */
export interface GatedDelta<W = Tensor> {
  readonly kind: "gated-delta";
  readonly keyHeads: number;
  readonly keySize: number;
  readonly heads: number;
  readonly valueSize: number;
  /** Positions that the convolution is over. */
  readonly taps: number;
  readonly activation: Activation;
  /** Queries, keys, values, gates of the result, and those of the rule: one below the other, or by head of keys where it is grouped. */
  readonly input: W;
  readonly grouped: boolean;
  /** (1, columns · taps) F32, of queries, keys and values; see OPS.convolution. */
  readonly weight: W;
  /** (1, 2 · heads) F32: log A, and the bias of decays. */
  readonly decays: W;
  /** Of each head of the result. */
  readonly norm: RmsNorm<W>;
  readonly output: Output<W>;
}

/** Records the rule over norm(stream), up to what goes into its last matrix; the stream's tensors are not released. */
export function recordGatedDelta(
  recorder: Recorder,
  linears: Linears,
  norm: Norm | undefined,
  mixer: GatedDelta,
  { past, first }: Sight,
  stream: Stream,
): Begun {
  const { keyHeads, keySize, heads, valueSize, decays } = mixer;
  const [keys, values] = [keyHeads * keySize, heads * valueSize];
  const { x, y: projected } = recordBegin(recorder, linears, norm, { weight: mixer.input, bias: undefined }, stream);
  const { qkv, z, gates, held } = recordParts(recorder, mixer, projected);
  const convolved = recordConvolved(recorder, mixer, past, first, qkv);
  const { y: active } = recorder.apply(OPS.activation, { x: convolved }, { kind: mixer.activation });
  recorder.release(convolved);
  // x / √(Σ x² + ε) is a norm by the mean square, divided by √size. A pass that is recorded once needs it as long as it is sent.
  const weight = recorder.upload("unit", [1, keySize], new Float32Array(keySize).fill(1 / Math.sqrt(keySize)));
  const unit = { kind: "rms", weight, epsilon: EPSILON / keySize, offset: 0 } as const;
  const qk = recordNorm(recorder, unit, sliceCols(active, 0, 2 * keys));
  const operands = { qk, v: sliceCols(active, 2 * keys, values), gates, decays, first };
  const y = recordRule(recorder, keyHeads, past, operands);
  recorder.release(qk, active);
  const up = recordNorm(recorder, mixer.norm, y);
  const result = recorder.apply(OPS.gatedActivation, { gate: z, up }, { kind: "silu" });
  recorder.release(y, up, ...held);
  return { x, y: result.y };
}

/** What a projection consists of, and what that are views of. */
interface Parts {
  readonly qkv: Tensor;
  readonly z: Tensor;
  readonly gates: Tensor;
  readonly held: readonly Tensor[];
}

/** Parts of what was projected, which is released where they are others. */
function recordParts(recorder: Recorder, mixer: GatedDelta, projected: Tensor): Parts {
  const { keyHeads, keySize, heads, valueSize, grouped } = mixer;
  const [keys, values] = [keyHeads * keySize, heads * valueSize];
  const width = 2 * keys + 2 * values;
  const padded = 2 * Math.ceil(heads / 4) * 4;
  const joined = { groups: 1, sizes: [heads, heads], padding: "removed" } as const;
  const isPadded = !grouped && padded !== 2 * heads;
  const last = sliceCols(projected, width, isPadded ? padded : 2 * heads);
  const ofRule = isPadded ? recorder.apply(OPS.regroup, { x: last }, joined).y : last;
  const sides = [sliceCols(projected, 0, width), ofRule] as const;
  const served = heads / keyHeads;
  const sizes = [[keySize, keySize, served * valueSize, served * valueSize] as const, [served, served] as const];
  const [sorted, gates] = grouped
    ? sides.map((x, at) => recorder.apply(OPS.regroup, { x }, { groups: keyHeads, sizes: sizes[at] ?? [] }).y)
    : sides;
  if (sorted === undefined || gates === undefined) throw new TypeError("a projection without parts");
  if (grouped) recorder.release(projected);
  return {
    qkv: sliceCols(sorted, 0, width - values),
    z: sliceCols(sorted, width - values, values),
    gates,
    held: grouped ? [sorted, gates] : isPadded ? [projected, gates] : [projected],
  };
}

function recordConvolved(
  recorder: Recorder,
  { weight }: GatedDelta,
  past: Filled | undefined,
  first: Tensor | undefined,
  x: Tensor,
): Tensor {
  if (past === undefined) {
    const inputs = { x, gate: undefined, weight, bias: undefined, first, last: undefined };
    return recorder.apply(OPS.convolution, inputs, { firstPosition: 0 }).y;
  }
  const y = recorder.allocate("convolved", x.shape);
  for (const { of, past: own } of partsOf(past, x.shape[0])) {
    const { tails } = keptOf(own);
    recorder.run.compute("tailConvolution", { x: of(x), weight, tails, ...placeOf(own), y: of(y) });
  }
  return y;
}

type Operands = Readonly<Record<"qk" | "v" | "gates" | "decays", Tensor>> & { readonly first: Tensor | undefined };

function recordRule(recorder: Recorder, keyHeads: number, past: Filled | undefined, operands: Operands): Tensor {
  if (past === undefined) return recorder.apply(OPS.gatedDelta, operands, { keyHeads }).y;
  const y = recorder.allocate("gated delta", operands.v.shape);
  const { decays } = operands;
  for (const { of, past: own } of partsOf(past, y.shape[0])) {
    const [qk, v, gates] = [of(operands.qk), of(operands.v), of(operands.gates)];
    const { states } = keptOf(own);
    recorder.run.compute("gatedDelta", { qk, v, gates, decays, keyHeads, states, ...placeOf(own), y: of(y) });
  }
  return y;
}

/** The tokens of a pass: those that are one of each sequence, and pieces of some. */
function partsOf(past: Filled, tokens: number) {
  const parts = [{ first: 0, past }, ...(past.pieces ?? [])];
  return parts.flatMap(({ first, past: own }, at) => {
    const count = (parts[at + 1]?.first ?? tokens) - first;
    return count === 0 ? [] : [{ past: own, of: (tensor: Tensor): Tensor => sliceRows(tensor, first, count) }];
  });
}

function keptOf(past: Filled): { readonly states: Tensor; readonly tails: Tensor } {
  if (!("states" in past)) throw new TypeError("a recurrent mixer without states");
  return past;
}

/** Where the tokens of a pass stand. */
function placeOf({ rows, length }: Filled) {
  return { block: BLOCK, rows: rows?.own, first: rows?.first, firstPosition: rows === undefined ? length : 0 };
}

/**
 * A short convolution between two gates (LFM2): c · (convolution of b · x), where one product makes b, c and x of a token. What it
 * keeps of a position is b · x, so that texts can be cut, copied and gone on with at any of them, as keys and values can.
 */
export interface Convolution<W = Tensor> {
  readonly kind: "convolution";
  /** b, c and x, one below the other: (3 · width, width of the stream). */
  readonly input: W;
  readonly inputBias: W | undefined;
  /** (1, width · taps) F32, and (1, width) F32; see OPS.convolution. */
  readonly weight: W;
  readonly bias: W | undefined;
  readonly output: Output<W>;
}

/** Records a convolution over norm(stream), up to what goes into its last matrix; the stream's tensors are not released. */
export function recordConvolution(
  recorder: Recorder,
  linears: Linears,
  norm: Norm | undefined,
  { input, inputBias, weight, bias }: Convolution,
  { past, first, last }: Sight,
  stream: Stream,
): Begun {
  const { x, y: projected } = recordBegin(recorder, linears, norm, { weight: input, bias: inputBias }, stream);
  const width = projected.shape[1] / 3;
  const [b, gate, values] = [0, 1, 2].map((part) => sliceCols(projected, part * width, width));
  if (b === undefined || gate === undefined || values === undefined) throw new TypeError("a projection without parts");
  const inputs = recordInputs(recorder, past, b, values);
  const attributes = { firstPosition: past?.length ?? 0 };
  const { y } = recorder.apply(OPS.convolution, { x: inputs, gate, weight, bias, first, last }, attributes);
  recorder.release(projected, ...(past === undefined ? [inputs] : []));
  return { x, y };
}

/** What is convolved: b · values behind what is past, or alone. */
function recordInputs(recorder: Recorder, past: Filled | undefined, b: Tensor, values: Tensor): Tensor {
  if (past === undefined) return recorder.apply(OPS.multiply, { a: b, b: values }, {}).y;
  if (!("inputs" in past)) throw new TypeError("a convolution over keys and values");
  const { inputs, length, rows } = past;
  if (rows === undefined) {
    recorder.apply(OPS.multiply, { a: b, b: values }, {}, { y: sliceRows(inputs, length, b.shape[0]) });
    return inputs;
  }
  const { y } = recorder.apply(OPS.multiply, { a: b, b: values }, {});
  recorder.run.compute("rows", { scatter: true, x: y, indices: rows.own, y: inputs });
  recorder.release(y);
  return inputs;
}
