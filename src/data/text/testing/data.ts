import { DataSetBuilder, type StoredDataSet } from "../samples/store.ts";

/**
 * A data set of samples of these lengths. Sample i holds i·1000, i·1000 + 1, …: an id says where it comes from. Its first
 * half is not supervised.
 */
export function numberedSamples(lengths: readonly number[], maxLength = 1000): StoredDataSet {
  const builder = new DataSetBuilder(maxLength);
  for (const [i, length] of lengths.entries()) {
    const ids = Array.from({ length }, (_, t) => i * 1000 + t);
    builder.add({ ids, supervised: ids.map((_, t) => (t >= length / 2 ? 1 : 0)), format: "text" }, i + 1);
  }
  return builder.build("numbered.jsonl");
}
