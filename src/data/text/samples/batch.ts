import type { Samples } from "../../batches/types.ts";
import type { DataSet, MicroBatch, Sample } from "./types.ts";
import type { Tokenizer } from "../tokenizer.ts";

/** A data set as steps take it. */
export function samplesOf(data: DataSet): Samples<MicroBatch> {
  return {
    length: data.length,
    lengthOf: (i) => data.lengthOf(i),
    targetsOf: (i) => data.supervisedOf(i),
    batchOf: (indices) => microBatchOf(data, indices),
  };
}

/**
 * Puts samples one after another into a micro-batch.
 *
 * @param indices which samples of the set, in this order
 */
function microBatchOf(data: DataSet, indices: readonly number[]): MicroBatch {
  let tokens = 0;
  let supervised = 0;
  for (const i of indices) {
    tokens += data.lengthOf(i);
    supervised += data.supervisedOf(i);
  }
  const ids = new Uint32Array(tokens);
  const positions = new Uint32Array(tokens);
  const starts = new Uint32Array(tokens);
  const rows = new Uint32Array(supervised);
  const targets = new Uint32Array(supervised);
  let start = 0;
  let s = 0;
  for (const i of indices) {
    const sample = data.sample(i);
    ids.set(sample.ids, start);
    starts.fill(start, start, start + sample.ids.length);
    for (const [t, id] of sample.ids.entries()) {
      positions[start + t] = t;
      if (sample.supervised[t] !== 1) continue;
      rows[s] = start + t - 1;
      targets[s++] = id;
    }
    start += sample.ids.length;
  }
  return { ids, positions, starts, rows, targets, samples: indices.length };
}

/** A stretch of a sample's text whose tokens are all targets of the loss, or none of them. */
export interface MarkedText {
  readonly text: string;
  readonly supervised: boolean;
  /** Number of tokens. */
  readonly tokens: number;
}

/**
 * A sample as text, special tokens included, with what is supervised: for people to read. A character whose bytes are in
 * several tokens belongs to the last of them.
 */
export function markedText(sample: Sample, tokenizer: Tokenizer): MarkedText[] {
  const detokenizer = tokenizer.detokenizer();
  const parts: { text: string; supervised: boolean; tokens: number }[] = [];
  for (const [t, id] of sample.ids.entries()) {
    const supervised = sample.supervised[t] === 1;
    const text = detokenizer.push(id);
    const last = parts.at(-1);
    if (last?.supervised === supervised) {
      last.text += text;
      last.tokens++;
    } else parts.push({ text, supervised, tokens: 1 });
  }
  const last = parts.at(-1);
  if (last !== undefined) last.text += detokenizer.flush();
  return parts;
}
