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

  /** A path in this folder. */
  at(...names: readonly string[]): string {
    return join(this.path, ...names);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }
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
