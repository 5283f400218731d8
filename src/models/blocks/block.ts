import type { Recorder } from "../../compute/tensor/recorder.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import { type Attention, recordAttention } from "./attention.ts";
import { type Convolution, type GatedDelta, recordConvolution, recordGatedDelta } from "./gated-delta.ts";
import { type Experts, recordExperts } from "./experts.ts";
import { type LayerInput, recordLayerInput } from "./layer-input.ts";
import type { Linears } from "./linears.ts";
import { type Mlp, recordMlp } from "./mlp.ts";
import type { Norm } from "./norm.ts";
import { type Begun, type Ending, recordOutput, recordSum, releaseStream, type Stream } from "./stream.ts";
import type { Sight } from "./sight.ts";

/**
 * One step of a layer: x + factor · scale · after(mixer(before(x))). With planned matrices for `W` it says what a checkpoint must
 * hold, with tensors it runs: a layer is a list of blocks.
 */
export interface Block<W = Tensor> extends Ending<W> {
  /** Of the block's input; undefined: none. */
  readonly before: Norm<W> | undefined;
  readonly mixer: Mixer<W>;
  /** It reads what the block before it read, instead of what came of that (Cohere 2). */
  readonly parallel?: boolean;
}

/** What a block does with its tokens. What experts give without an MLP beside them is added as it is, but for the factor. */
export type Mixer<W = Tensor> = Attention<W> | Convolution<W> | GatedDelta<W> | Mlp<W> | LayerInput<W> | Experts<W>;

/**
 * The matrices at the ends of these blocks, in their order: of attention, or what stands in its place, and of MLPs. A mixture of experts has
 * none that all tokens go through.
 */
export function outputsOf<W>(blocks: readonly Block<W>[]): W[] {
  return blocks.flatMap(({ mixer }) =>
    mixer.kind === "experts" || mixer.kind === "layer-input" ? [] : [mixer.output.weight],
  );
}

/** Records what the stream becomes by a layer's blocks, one after another; its tensors are not released. */
export function recordBlocks(
  recorder: Recorder,
  linears: Linears,
  blocks: readonly Block[],
  sight: Sight,
  stream: Stream,
): Stream {
  // What the last block that is not parallel read, and what has come of all so far.
  let [input, current] = [stream, stream];
  for (const block of blocks) {
    if (block.parallel !== true) {
      if (input !== stream) releaseStream(recorder, input, stream, current);
      input = current;
    }
    const updated = recordBlock(recorder, linears, block, sight, { input, current });
    if (current !== input) releaseStream(recorder, current, stream, input, updated);
    current = updated;
  }
  if (input !== stream) releaseStream(recorder, input, stream, current);
  return current;
}

/** Records a block that reads `input`, and whose result is added to `current`; neither is released. */
function recordBlock(
  recorder: Recorder,
  linears: Linears,
  { before, mixer, ...ending }: Block,
  sight: Sight,
  { input, current }: { readonly input: Stream; readonly current: Stream },
): Stream {
  if (mixer.kind === "experts") {
    return recordExperts(recorder, linears, before, mixer, ending, input);
  }
  const { x, y } = recordUpToOutput(recorder, linears, before, mixer, sight, input);
  const sum = current === input ? x : recordSum(recorder, current);
  const result = recordOutput(recorder, linears, mixer.output, ending, y, sum);
  const kept = [input.x, current.x, result.x];
  recorder.release(...[...new Set([x, sum])].filter((tensor) => !kept.includes(tensor)));
  return result;
}

/** Records a mixer that ends with a matrix, up to what goes into that. */
function recordUpToOutput(
  recorder: Recorder,
  linears: Linears,
  norm: Norm | undefined,
  mixer: Exclude<Mixer, Experts>,
  sight: Sight,
  stream: Stream,
): Begun {
  switch (mixer.kind) {
    case "attention":
      return recordAttention(recorder, linears, norm, mixer, sight, stream);
    case "convolution":
      return recordConvolution(recorder, linears, norm, mixer, sight, stream);
    case "gated-delta":
      return recordGatedDelta(recorder, linears, norm, mixer, sight, stream);
    case "mlp":
      return recordMlp(recorder, linears, norm, mixer, stream);
    case "layer-input":
      return recordLayerInput(recorder, linears, norm, mixer, sight, stream);
  }
}
