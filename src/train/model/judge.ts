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
export interface Verdict {
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
