// What most tests share: temporary folders, and what is refused.
import { afterAll } from "bun:test";
import { mkdtemp, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RandloraError } from "../errors.ts";

/** A new empty folder that is removed when the scope that holds it ends. */
export class TemporaryFolder implements AsyncDisposable {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  static async create(): Promise<TemporaryFolder> {
    return new TemporaryFolder(await realpath(await mkdtemp(join(tmpdir(), "randlora-test-"))));
  }

  /** One that the tests of a file share, removed after the last of them. */
  static async forTests(): Promise<TemporaryFolder> {
    const folder = await TemporaryFolder.create();
    afterAll(() => folder[Symbol.asyncDispose]());
    return folder;
  }

  /** One with these files: texts and bytes as they are, lists as JSON lines, anything else as JSON. */
  static async with(files: Readonly<Record<string, unknown>>): Promise<TemporaryFolder> {
    const folder = await TemporaryFolder.create();
    for (const [name, content] of Object.entries(files)) await Bun.write(folder.at(name), written(content));
    return folder;
  }

  /** A path in this folder. */
  at(...names: readonly string[]): string {
    return join(this.path, ...names);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }
}

function written(content: unknown): string | Uint8Array {
  if (typeof content === "string" || content instanceof Uint8Array) return content;
  return Array.isArray(content) ? content.map((line) => `${JSON.stringify(line)}\n`).join("") : JSON.stringify(content);
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
