import { afterAll, beforeAll } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cleanEnvironment } from "../../src/files/testing/process.ts";

const SAMPLES = Array.from({ length: 10 }, (_, i) => ({
  prompt: `Once upon a time ${i}`,
  completion: " he said arr.",
}));

/** A short way to train. */
export const LORA = ["--method", "lora", "--targets", "q_proj", "--learning-rate", "1e-2"] as const;

/** A folder with `data.jsonl`, for the tests of one file, and `randlora finetune` in it. */
export class FinetuneFolder {
  path = "";

  /** Makes it before the file's first test, and removes it after the last. */
  static forTests(): FinetuneFolder {
    const folder = new FinetuneFolder();
    beforeAll(async () => {
      folder.path = await mkdtemp(join(tmpdir(), "randlora-finetune-"));
      await Bun.write(folder.at("data.jsonl"), SAMPLES.map((sample) => `${JSON.stringify(sample)}\n`).join(""));
    });
    afterAll(() => rm(folder.path, { recursive: true, force: true }));
    return folder;
  }

  at(...names: readonly string[]): string {
    return join(this.path, ...names);
  }

  async run(env: Readonly<Record<string, string>>, ...args: readonly string[]) {
    return await this.randlora(env, "finetune", ...args);
  }

  async randlora(env: Readonly<Record<string, string>>, ...args: readonly string[]) {
    const child = Bun.spawn([process.execPath, join(import.meta.dir, "../main.ts"), ...args], {
      cwd: this.path,
      env: { ...cleanEnvironment(), ...env },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    return { status, stdout, stderr };
  }
}
