import { DataSetBuilder, type StoredDataSet } from "../../data/text/samples/store.ts";

/** Samples of these lengths for a vocabulary of 512, of which all but the first token are supervised. */
export function storySamples(lengths: readonly number[]): StoredDataSet {
  const builder = new DataSetBuilder(512);
  for (const [i, length] of lengths.entries()) {
    const ids = Array.from({ length }, (_, t) => (1 + 37 * i + 101 * t) % 512);
    builder.add({ ids, supervised: ids.map(() => 1), format: "text" }, i + 1);
  }
  return builder.build("stories.jsonl");
}
