import { existsSync } from "node:fs";
import { join } from "node:path";
import { RandloraError } from "../src/errors.ts";
import { cacheFolder, run } from "./environment.ts";
import { ROOT } from "./program.ts";

const SHARED = join(ROOT, "..", "shared");

/** The 260K-parameter story model (f32), which stands beside the repository. */
export function stories260k(): string {
  return existing(join(SHARED, "models", "stories260k"));
}

/** The 135M-parameter chat model (bf16), fetched into the cache when it is not there; a fetch that fails is a failure. */
export async function smollm2(): Promise<string> {
  const folder = join(cacheFolder(), "models", "smollm2-135m");
  if (!existsSync(join(folder, "config.json"))) {
    process.stderr.write(`interop: fetching the 135M model into ${folder} (once, about a minute)\n`);
    await run([existing(join(SHARED, "tools", "get-smollm2")), folder]);
  }
  return folder;
}

function existing(path: string): string {
  if (existsSync(path)) return path;
  throw new RandloraError("file", `${path} does not exist`, "shared/ must stand beside the repository");
}
