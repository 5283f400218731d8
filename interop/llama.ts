import { existsSync } from "node:fs";
import { copyFile, mkdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import * as v from "valibot";
import { cacheFolder, run } from "./environment.ts";
import { ROOT } from "./program.ts";

/** Where node-llama-cpp is locked: the benchmark of llama.cpp needs the same. */
const LOCKED = join(ROOT, "bench", "peers");

export interface Question {
  readonly model: string;
  readonly adapter: string | null;
  readonly prompt: string;
  readonly count: number;
}

const Answer = v.union([
  v.object({ ids: v.array(v.number()), tokens: v.array(v.number()) }),
  v.object({ error: v.string() }),
]);
export type Answer = v.InferOutput<typeof Answer>;

/** What llama.cpp says to each prompt, in order. */
export async function askLlama(questions: readonly Question[]): Promise<Answer[]> {
  const command = ["node", join(import.meta.dir, "llama.mjs"), await packages()];
  const child = Bun.spawn(command, { stdin: "pipe", stdout: "pipe", stderr: "inherit" });
  for (const question of questions) child.stdin.write(`${JSON.stringify(question)}\n`);
  await child.stdin.end();
  const text = await child.stdout.text();
  return text
    .trim()
    .split("\n")
    .map((line) => v.parse(Answer, JSON.parse(line)));
}

/** A folder with node-llama-cpp and its prebuilt llama.cpp, installed once; it appears when it is complete. */
async function packages(): Promise<string> {
  const lock = await readFile(join(LOCKED, "package-lock.json"));
  const hash = new Bun.CryptoHasher("sha256").update(lock).digest("hex").slice(0, 16);
  const folder = join(cacheFolder(), "llama.cpp", hash);
  if (existsSync(folder)) return folder;
  process.stderr.write(`interop: installing llama.cpp in ${folder} (once, about a minute)\n`);
  const scratch = `${folder}.part-${process.pid}`;
  await mkdir(scratch, { recursive: true });
  try {
    for (const name of ["package.json", "package-lock.json"]) await copyFile(join(LOCKED, name), join(scratch, name));
    await run(["npm", "ci", "--ignore-scripts"], { cwd: scratch });
    await rename(scratch, folder).catch((error: unknown) => {
      if (!existsSync(folder)) throw error;
    });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  return folder;
}
