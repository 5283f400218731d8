import { OPS } from "../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import { sliceCols, sliceRows, type Tensor } from "../../compute/tensor/tensor.ts";
import type { Linears } from "./linears.ts";
import type { Norm } from "./norm.ts";
import type { Output } from "./output.ts";
import type { Filled, Sight } from "./sight.ts";
import { type Begun, recordBegin, type Stream } from "./stream.ts";

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
