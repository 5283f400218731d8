import { TemporaryFolder } from "../../src/files/testing/folder.ts";
import { randlora } from "./program.ts";

const SAMPLES = Array.from({ length: 10 }, (_, i) => ({
  prompt: `Once upon a time ${i}`,
  completion: " he said arr.",
}));

/** A short way to train. */
export const LORA = ["--method", "lora", "--targets", "q_proj", "--learning-rate", "1e-2"] as const;

/** A folder with `data.jsonl`, for the tests of one file, and the program in it. */
export class FinetuneFolder {
  readonly path: string;
  readonly at: TemporaryFolder["at"];

  private constructor(folder: TemporaryFolder) {
    this.path = folder.path;
    this.at = folder.at.bind(folder);
  }

  static async forTests(): Promise<FinetuneFolder> {
    const folder = new FinetuneFolder(await TemporaryFolder.forTests());
    await Bun.write(folder.at("data.jsonl"), SAMPLES.map((sample) => `${JSON.stringify(sample)}\n`).join(""));
    return folder;
  }

  async run(env: Readonly<Record<string, string>>, ...args: readonly string[]) {
    return await this.randlora(env, "finetune", ...args);
  }

  async randlora(env: Readonly<Record<string, string>>, ...args: readonly string[]) {
    return await randlora(args, { cwd: this.path, env });
  }
}
