import type { Recorder } from "../../compute/tensor/recorder.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import { type Attention, recordAttention, type Sight } from "./attention.ts";
import type { Linears } from "./linears.ts";
import { type Mlp, recordMlp } from "./mlp.ts";
import type { Norm } from "./norm.ts";
import { type Ending, recordOutput } from "./output.ts";
import { releaseStream, type Stream } from "./stream.ts";

/**
 * One step of a layer: x + factor · scale · after(mixer(before(x))). With planned matrices for `W` it says what a checkpoint must
 * hold, with tensors it runs: a layer is a list of blocks.
 */
export interface Block<W = Tensor> extends Ending<W> {
  /** Of the block's input; undefined: none. */
  readonly before: Norm<W> | undefined;
  readonly mixer: Mixer<W>;
}

/** What a block does with its tokens. */
export type Mixer<W = Tensor> = Attention<W> | Mlp<W>;

/** Records what the stream becomes by a layer's blocks, one after another; its tensors are not released. */
export function recordBlocks(
  recorder: Recorder,
  linears: Linears,
  blocks: readonly Block[],
  sight: Sight,
  stream: Stream,
): Stream {
  let current = stream;
  for (const block of blocks) {
    const updated = recordBlock(recorder, linears, block, sight, current);
    if (current !== stream) releaseStream(recorder, current, stream, updated);
    current = updated;
  }
  return current;
}

/** Records what the stream becomes by a block; its tensors are not released. @param sight of its attention */
function recordBlock(
  recorder: Recorder,
  linears: Linears,
  { before, mixer, ...ending }: Block,
  sight: Sight,
  stream: Stream,
): Stream {
  const { x, y } =
    mixer.kind === "attention"
      ? recordAttention(recorder, linears, before, mixer, sight, stream)
      : recordMlp(recorder, linears, before, mixer, stream);
  const result = recordOutput(recorder, linears, mixer.output, ending, y, x);
  if (x !== stream.x && x !== result.x) recorder.release(x);
  return result;
}
