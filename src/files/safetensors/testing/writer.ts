// Run by crash.test.ts and crash.slow.test.ts as a process of its own, to be killed or to fill a disk:
//   bun testing/writer.ts PATH file|folder once|replace BYTES
// Publishes outputs of about BYTES at PATH: one, or one after another for ever. Prints a line when the first has begun.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { RandloraError } from "../../errors.ts";
import { Checkpoint } from "../checkpoint.ts";
import { Publication } from "../../publish.ts";
import { encodeIndex, INDEX_FILE, planShards } from "../shards.ts";
import { type PlannedTensor, SafetensorsWriter } from "../writer.ts";

const TENSORS = 8;

/** Publishes an output every byte of which is `generation`, and which says so in its metadata. */
export async function publishGeneration(
  path: string,
  kind: "file" | "folder",
  generation: number,
  { force, bytes, begun }: { force: boolean; bytes: number; begun?: () => void },
): Promise<void> {
  await using output = await Publication.begin(path, { kind, force });
  begun?.();
  const size = Math.ceil(bytes / TENSORS);
  const tensors = Array.from({ length: TENSORS }, (_, i): PlannedTensor => ({
    name: `t${i}`,
    dtype: "U8",
    shape: [size],
  }));
  const shards = planShards(tensors, kind === "file" ? Infinity : (TENSORS / 2) * size);
  const data = new Uint8Array(size).fill(generation);
  for (const { file, tensors: planned } of shards) {
    const part = kind === "file" ? output.partPath : join(output.partPath, file);
    await using writer = await SafetensorsWriter.create(part, planned, new Map([["generation", String(generation)]]));
    for (const { name } of planned) await writer.append(name, data);
    await writer.finish();
  }
  if (kind === "folder") await writeFile(join(output.partPath, INDEX_FILE), encodeIndex(shards));
  await output.commit();
}

/** The generation of a complete output. Throws for anything less: a tensor missing, bytes of another generation. */
export async function readGeneration(path: string): Promise<number> {
  await using checkpoint = await Checkpoint.open(path);
  if (checkpoint.tensors.size !== TENSORS) throw new Error(`${checkpoint.tensors.size} tensors`);
  const found = new Set(checkpoint.files.map(({ header }) => Number(header.metadata.get("generation"))));
  for (const { file, info } of checkpoint.tensors.values()) {
    const bytes = new Uint8Array(info.bytes);
    await file.read(info, bytes);
    for (const byte of new Set(bytes)) found.add(byte);
  }
  const [generation, ...others] = found;
  if (generation === undefined || others.length > 0)
    throw new Error(`generations ${[...found].join(", ")} in one output`);
  return generation;
}

const begun = () => process.stdout.write("begun\n");

if (import.meta.main) {
  const [path = "", kind = "", mode = "", bytes = ""] = process.argv.slice(2);
  try {
    for (let generation = 1; ; generation = (generation % 255) + 1) {
      const options = { force: mode === "replace", bytes: Number(bytes), begun };
      await publishGeneration(path, kind === "file" ? "file" : "folder", generation, options);
      if (mode === "once") break;
    }
  } catch (thrown) {
    if (!(thrown instanceof RandloraError)) throw thrown;
    process.stderr.write(`${thrown.message}\n`);
    process.exitCode = 1;
  }
}
