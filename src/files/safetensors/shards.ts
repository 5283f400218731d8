import { plannedBytes, type PlannedTensor, wholeTensors } from "./writer.ts";

/** One file of a planned checkpoint. */
export interface PlannedShard<T extends PlannedTensor = PlannedTensor> {
  /** File name, without a folder. */
  readonly file: string;
  readonly tensors: readonly T[];
}

/** The name of a checkpoint that is one file, and of the index of one that is several. */
export const SINGLE_FILE = "model.safetensors";
export const INDEX_FILE = "model.safetensors.index.json";

/**
 * Distributes tensors, in order, over files of at most `maxBytes` of tensor data. A tensor is never split, nor one that is
 * written as several: a larger one has a file of its own. One file is called {@link SINGLE_FILE}; several as Hugging Face names them,
 * `model-00001-of-00003.safetensors`, and need {@link encodeIndex} beside them.
 */
export function planShards<T extends PlannedTensor>(tensors: readonly T[], maxBytes: number): PlannedShard<T>[] {
  const groups: T[][] = [[]];
  let used = 0;
  let whole: string | undefined;
  for (const tensor of tensors) {
    const begins = tensor.whole === undefined || tensor.whole.name !== whole;
    whole = tensor.whole?.name;
    const bytes = begins ? plannedBytes({ ...tensor, ...tensor.whole }) : 0;
    if (begins && used + bytes > maxBytes && used > 0) {
      groups.push([]);
      used = 0;
    }
    groups.at(-1)?.push(tensor);
    used += bytes;
  }
  if (groups.length === 1) return [{ file: SINGLE_FILE, tensors: groups[0] ?? [] }];
  const of = String(groups.length).padStart(5, "0");
  return groups.map((group, i) => ({
    file: `model-${String(i + 1).padStart(5, "0")}-of-${of}.safetensors`,
    tensors: group,
  }));
}

/**
 * The text of `model.safetensors.index.json`: `metadata` with `total_size` (bytes of all tensors) and the weight map,
 * keys sorted, as Hugging Face writes it. Other entries of `metadata` are kept.
 */
export function encodeIndex(shards: readonly PlannedShard[], metadata: Readonly<Record<string, unknown>> = {}): string {
  let total = 0;
  const files: [string, string][] = [];
  for (const { file, tensors } of shards) {
    for (const tensor of wholeTensors(tensors)) {
      total += plannedBytes(tensor);
      files.push([tensor.name, file]);
    }
  }
  files.sort(([a], [b]) => (a < b ? -1 : 1));
  // Written by hand: an object would put integer-like names first and lose the name "__proto__".
  const lines = files.map(([name, file]) => `    ${JSON.stringify(name)}: ${JSON.stringify(file)}`);
  const head = JSON.stringify({ ...metadata, total_size: total }, null, 2).replaceAll("\n", "\n  ");
  const map = lines.length === 0 ? "{}" : `{\n${lines.join(",\n")}\n  }`;
  return `{\n  "metadata": ${head},\n  "weight_map": ${map}\n}\n`;
}
