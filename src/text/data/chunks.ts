import { open } from "node:fs/promises";
import { naming } from "../../safetensors/failure.ts";

const CHUNK_BYTES = 1 << 20;

/** The bytes of a file, piece by piece. @throws {RandloraError} `file` when it cannot be read */
export async function* readChunks(path: string): AsyncGenerator<Uint8Array> {
  await using file = await naming(path, "read", open(path));
  for (;;) {
    const buffer = new Uint8Array(CHUNK_BYTES);
    const { bytesRead } = await naming(path, "read", file.read(buffer, 0, CHUNK_BYTES));
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
  }
}

/** The first bytes of a file: what tells its format. @throws {RandloraError} `file` when it cannot be read */
export async function readStart(path: string): Promise<Uint8Array> {
  for await (const chunk of readChunks(path)) return chunk;
  return new Uint8Array();
}
