import type { Activation } from "../../compute/tensor/elementwise.ts";
import { OPS } from "../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import { sliceCols, type Tensor } from "../../compute/tensor/tensor.ts";
import type { Linears } from "./linears.ts";
import type { Norm, RmsNorm } from "./norm.ts";
import { type Begun, type Output, recordBegin, type Stream } from "./stream.ts";
import type { Sight } from "./sight.ts";

/** f(gate x) · what the layer reads of each token beside the stream (Gemma 4's embeddings of each layer). */
export interface LayerInput<W = Tensor> {
  readonly kind: "layer-input";
  readonly activation: Activation;
  /** (size, width of x). */
  readonly gate: W;
  /** The columns of `Sight.inputs` that are this layer's begin here, a multiple of 4 as their number is. */
  readonly first: number;
  readonly output: Output<W>;
}

/** What every layer reads of each token beside the stream (Gemma 4): a row of a table, and what its embedding is projected to. */
export interface LayerInputs<W = Tensor> {
  /** (layers · size, hidden). */
  readonly projection: W;
  /** Of each layer's columns of what was projected. */
  readonly norm: RmsNorm<W>;
  /** What rows of the table are multiplied by: √size. */
  readonly scale: number;
}

/** Records that over norm(stream), up to what goes into its last matrix; the stream's tensors are not released. */
export function recordLayerInput(
  recorder: Recorder,
  linears: Linears,
  norm: Norm | undefined,
  { activation: kind, gate: weight, first }: LayerInput,
  { inputs }: Sight,
  stream: Stream,
): Begun {
  if (inputs === undefined) throw new TypeError("a pass without inputs of its layers");
  const { x, y: gate } = recordBegin(recorder, linears, norm, { weight, bias: undefined }, stream);
  const { y } = recorder.apply(OPS.gatedActivation, { gate, up: sliceCols(inputs, first, gate.shape[1]) }, { kind });
  recorder.release(gate);
  return { x, y };
}
