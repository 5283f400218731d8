import type { Device } from "../../compute/device/device.ts";
import { OPS } from "../../compute/tensor/ops/index.ts";
import { readMatrices } from "../../compute/tensor/read-rows.ts";
import type { Run } from "../../compute/tensor/run.ts";
import { sliceRows, type Tensor } from "../../compute/tensor/tensor.ts";
import { itemAt } from "../../files/item-at.ts";
import type { DecoderConfig } from "./config.ts";
import { recordLogits } from "./forward.ts";
import type { DecoderWeights } from "./weights.ts";

/** Bytes of logits that exist at a time, unless a row takes more. */
const MOST_BYTES = 32 * 2 ** 20;

/** What may follow on a token of a prompt, whose next token is known. */
export interface PromptLogits {
  /** The best tokens, best first, and the logarithms of their probabilities. */
  readonly ids: Uint32Array;
  readonly logprobs: Float64Array;
  /** That of the token which does follow. */
  readonly own: number;
}

/** What is to be known of a prompt's tokens. */
export interface Scoring {
  /** The token after each. */
  readonly next: readonly number[];
  /** The best so many are to be known, at least 1. */
  readonly top: number;
}

/** Something that was recorded, and is read when it has been computed; whoever had it recorded releases the tensors. */
export interface RecordedResult<T> {
  readonly tensors: readonly Tensor[];
  /** @throws RandloraError `gpu` */
  read(): Promise<T>;
}

/** Results of some rows: (rows, top) logits and their tokens, (rows, 1) −log p of the next token and log Σ exp(logits). */
interface RecordedScores {
  readonly values: Tensor;
  readonly ids: Tensor;
  readonly own: Tensor;
  readonly lse: Tensor;
}

/**
 * Records what may follow on hidden states, a block of rows at a time.
 * @param rowsAtMost see OPS.linear
 * @returns what may follow, by row
 */
export function recordScores(
  run: Run,
  device: Device,
  { config, weights, rowsAtMost }: { config: DecoderConfig; weights: DecoderWeights; rowsAtMost: number },
  hidden: Tensor,
  { next, top }: Scoring,
): RecordedResult<PromptLogits[]> {
  const { head, headBias: bias } = weights;
  const step = Math.max(1, Math.floor(MOST_BYTES / 4 / head.shape[0]));
  const scores: RecordedScores[] = [];
  for (let first = 0; first < next.length; first += step) {
    const targets = Uint32Array.from(next.slice(first, first + step));
    const x = sliceRows(hidden, first, targets.length);
    const logits = recordLogits(run, config, weights, x, rowsAtMost);
    const { values, ids } = run.apply(OPS.topK, { x: logits }, { k: Math.min(top, head.shape[0]) });
    run.release(logits);
    const uploaded = run.upload("next", [1, targets.length], targets);
    const attributes = { softcap: config.logitSoftcap, rowsAtMost };
    const { y: own, lse } = run.apply(OPS.nll, { x, weight: head, bias, targets: uploaded }, attributes);
    scores.push({ values, ids, own, lse });
  }
  const tensors = scores.flatMap(({ values, ids, own, lse }) => [values, ids, own, lse]);
  // Now: what there is no room for takes nothing along.
  for (const tensor of tensors) run.keep(tensor);
  return { tensors, read: () => readScores(device, scores, tensors) };
}

async function readScores(
  device: Device,
  scores: readonly RecordedScores[],
  tensors: readonly Tensor[],
): Promise<PromptLogits[]> {
  const read = await readMatrices(device, tensors);
  return scores.flatMap(({ values }, block) => {
    const bits = (at: number) => itemAt(read, 4 * block + at);
    const numbers = (at: number) => new Float32Array(bits(at).buffer);
    const [best, tokens, owns, sums] = [numbers(0), bits(1), numbers(2), numbers(3)];
    const [rows, k] = values.shape;
    return Array.from({ length: rows }, (_, row) => {
      const sum = sums[row] ?? NaN;
      return {
        ids: tokens.slice(row * k, (row + 1) * k),
        logprobs: Float64Array.from(best.subarray(row * k, (row + 1) * k), (one) => one - sum),
        own: -(owns[row] ?? NaN),
      };
    });
  });
}
