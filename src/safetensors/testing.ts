// What the tests of this folder, and of those that read checkpoints, share: temporary folders and small files.
import { mkdtemp, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RandloraError } from "../errors.ts";
import { type Header, parseHeader, parseHeaderLength } from "./header.ts";

/** A new empty folder that is removed when the scope that holds it ends. */
export class TemporaryFolder implements AsyncDisposable {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  static async create(): Promise<TemporaryFolder> {
    return new TemporaryFolder(await realpath(await mkdtemp(join(tmpdir(), "randlora-test-"))));
  }

  /** A path in this folder. */
  at(...names: readonly string[]): string {
    return join(this.path, ...names);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }
}

/** A whole safetensors file: the header as `JSON.stringify` writes it, or as the text given, then `data`. */
export function fileBytes(header: unknown, data: Uint8Array = new Uint8Array()): Uint8Array<ArrayBuffer> {
  const json = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  bytes.set(data, 8 + json.length);
  return bytes;
}

/** The {@link RandloraError} that `work` throws; anything else it does is an error of its own. */
export async function refusalOf(work: () => unknown): Promise<RandloraError> {
  try {
    await work();
  } catch (thrown) {
    if (thrown instanceof RandloraError) return thrown;
    throw thrown;
  }
  throw new Error("it was not refused");
}

/** Parses a whole file in memory, as the file reader does. */
export function parseFile(bytes: Uint8Array): Header {
  const length = parseHeaderLength(bytes.subarray(0, 8), "x.safetensors", bytes.length);
  return parseHeader(bytes.subarray(8, 8 + length), "x.safetensors", bytes.length);
}

/** A tensor as a header describes it: its bytes go from `begin` to `end` of the data. */
export function tensorEntry(dtype: string, shape: readonly number[], begin: number, end: number): object {
  return { dtype, shape, data_offsets: [begin, end] };
}
