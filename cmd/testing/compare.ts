import { afterAll, beforeAll } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { STORIES } from "../../fixtures/stories/storyteller.ts";
import { cleanEnvironment } from "../../src/files/testing/process.ts";
import { writeTexts } from "../../src/train/testing/runs.ts";

export const MAIN = join(import.meta.dir, "../main.ts");

/** What a comparison of one step is made of. */
export const DATA = [STORIES, "--data", "train.jsonl", "--targets", "q_proj", "--steps", "1"];

/** A folder with data for comparisons, as long as the tests of a file run. */
export class CompareFolder {
  path = "";

  static forTests(): CompareFolder {
    const folder = new CompareFolder();
    beforeAll(async () => {
      folder.path = await mkdtemp(join(tmpdir(), "randlora-compare-"));
      await writeTexts(folder.at("train.jsonl"), 16);
      await writeTexts(folder.at("valid.jsonl"), 3, 5);
    });
    afterAll(() => rm(folder.path, { recursive: true, force: true }));
    return folder;
  }

  at(...names: string[]): string {
    return join(this.path, ...names);
  }

  /** Starts `randlora compare` in the folder. */
  start(...args: readonly string[]) {
    return Bun.spawn([process.execPath, MAIN, "compare", ...args], {
      cwd: this.path,
      env: cleanEnvironment(),
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
  }

  async compare(...args: readonly string[]) {
    const child = this.start(...args);
    const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    return { status, stdout, stderr };
  }
}
