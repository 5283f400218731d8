import { OPS } from "../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import { sliceCols, sliceRows, type Tensor } from "../../compute/tensor/tensor.ts";
import type { Activation } from "../../compute/tensor/elementwise.ts";
import type { Linears } from "./linears.ts";
import { type Norm, recordNorm, type RmsNorm } from "./norm.ts";
import type { Output } from "./output.ts";
import { BLOCK, type Filled, type Sight } from "./sight.ts";
import { type Begun, recordBegin, type Stream } from "./stream.ts";

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
