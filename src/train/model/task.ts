import type { LargestMicroBatch } from "../../data/batches/types.ts";
import type { Linears } from "../../models/blocks/linears.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";

/** Of a task that tells classes apart: which class a model takes each sample for. */
export interface Judge<Batch> {
  /** Makes ready for the weights as they are now: once before an evaluation. @throws RandloraError `memory`, `gpu` */
  begin(linears: Linears): Promise<void>;
  /** Records logits, (samples, classes) F32. The caller releases them. */
  logits(recorder: Recorder, linears: Linears, batch: Batch): Tensor;
  /** The class of each sample of a batch. */
  labelsOf(batch: Batch): Uint32Array;
}

/** What logits are worth where the class is known. */
interface Verdict {
  /** Cross-entropy, in nats. */
  readonly loss: number;
  /** Is the class the likeliest one? Of equal logits the first counts, as torch's argmax has it. */
  readonly isRight: boolean;
}

/** Logarithms of the probabilities that logits mean, in f64. */
export function logProbabilities(logits: Float32Array): Float64Array {
  const most = logits.reduce((top, logit) => Math.max(top, logit), -Infinity);
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - most), 0);
  return Float64Array.from(logits, (logit) => logit - most - Math.log(sum));
}

/** Compares a sample's logits with its class. */
export function judge(logits: Float32Array, label: number): Verdict {
  const logs = logProbabilities(logits);
  const most = logs.reduce((top, log) => Math.max(top, log), -Infinity);
  return { loss: -(logs[label] ?? NaN), isRight: logs.indexOf(most) === label };
}

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
