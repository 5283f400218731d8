import { existsSync } from "node:fs";
import { join } from "node:path";
import { cacheFolder } from "./environment.ts";
import { ROOT } from "./program.ts";
import { fetchSmollm2 } from "./smollm2/fetch.ts";

/** The 0.85M-parameter chat model that the program carries: bf16, with a byte-level BPE. */
export const EMBEDDED_MODEL = join(ROOT, "fixtures", "embedded", "model");

let fetched: Promise<void> | undefined;

/** The 135M-parameter chat model (bf16), fetched into the cache when it is not there; a fetch that fails is a failure. */
export async function smollm2(): Promise<string> {
  const folder = join(cacheFolder(), "models", "smollm2-135m");
  if (!existsSync(join(folder, "config.json"))) {
    process.stderr.write(`interop: fetching the 135M model into ${folder} (once, about a minute)\n`);
    fetched ??= fetchSmollm2(folder);
    await fetched;
  }
  return folder;
}
