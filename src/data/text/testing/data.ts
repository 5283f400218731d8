import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
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

/** A temporary folder of data files: bytes and texts as they are, arrays as JSON lines. */
export class DataFolder {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  static async with(files: Readonly<Record<string, string | Uint8Array | readonly unknown[]>>): Promise<DataFolder> {
    const folder = new DataFolder(await mkdtemp(join(tmpdir(), "randlora-data-")));
    for (const [name, content] of Object.entries(files)) {
      const written =
        typeof content === "string" || content instanceof Uint8Array
          ? content
          : content.map((line) => `${JSON.stringify(line)}\n`).join("");
      await Bun.write(folder.file(name), written);
    }
    return folder;
  }

  file(name: string): string {
    return join(this.path, name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }
}
