import { type FileHandle, open, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { encodeIndex, INDEX_FILE, planShards } from "../src/files/safetensors/shards.ts";
import { encodeHeader, type PlannedTensor, plannedBytes } from "../src/files/safetensors/writer.ts";

/**
 * Writes a checkpoint of made-up tensors into a folder, in files of so many bytes and with an index where there are several.
 * @param write a tensor's bytes, to the end of the file; what it leaves out stays a hole, which reads as zeros
 * @returns bytes of all tensors
 */
export async function writeShards(
  folder: string,
  tensors: readonly PlannedTensor[],
  shardBytes: number,
  write: (file: FileHandle, tensor: PlannedTensor) => Promise<void> = async () => {},
): Promise<number> {
  const shards = planShards(tensors, shardBytes);
  for (const shard of shards) {
    const header = encodeHeader(shard.tensors);
    await using file = await open(join(folder, shard.file), "w");
    await file.write(header);
    for (const tensor of shard.tensors) await write(file, tensor);
    await file.truncate(shard.tensors.reduce((sum, tensor) => sum + plannedBytes(tensor), header.length));
  }
  if (shards.length > 1) await writeFile(join(folder, INDEX_FILE), encodeIndex(shards));
  return tensors.reduce((sum, tensor) => sum + plannedBytes(tensor), 0);
}
