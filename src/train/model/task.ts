import type { LargestMicroBatch } from "../../data/batches/types.ts";
import type { Linears } from "../../models/blocks/linears.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import type { Judge } from "./judge.ts";

export interface LossOptions {
  /** Keep the hidden states between blocks alone, and compute each block again when it is differentiated. */
  readonly checkpointing: boolean;
}

/** What a model is trained to do: how its loss follows from a batch. Training knows nothing else of batches. */
export interface Task<Batch> {
  /**
   * Records the terms of a batch's loss, (terms, 1) F32 in nats; their mean is the loss. On a `Tape` they can be
   * differentiated; on a `Run` it is an evaluation. The caller releases the result.
   */
  losses(recorder: Recorder, linears: Linears, batch: Batch, options: LossOptions): Tensor;
  /** How many terms the loss of a batch has. */
  termsOf(batch: Batch): number;
  /** A batch of this size with made-up content: what memory is measured with. */
  probe(size: LargestMicroBatch): Batch;
  /** Of tasks that tell classes apart. An evaluation then asks for logits, and says how many samples are right as well. */
  readonly judge?: Judge<Batch>;
}
