import { existsSync, statSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";

/** What is read of models and adapters at these paths: a run's folder holds other files beside them. */
export function weightsIn(paths: readonly string[]): string[] {
  return paths.flatMap((path) => {
    if (!existsSync(join(path, "run.json"))) return [path];
    return ["run.json", "adapter", "best", "model", "state"].map((name) => join(path, name)).filter(existsSync);
  });
}

/** What is read of data: a file, or the parts of a folder that commands look for. @param dataset named ones have any layout */
export async function dataIn(data: string, dataset?: string): Promise<string[]> {
  const there = statSync(data, { throwIfNoEntry: false });
  if (there === undefined) return []; // whoever reads it says so
  if (dataset !== undefined || !there.isDirectory()) return [data];
  const names = await readdir(data);
  return names.filter((name) => /^(train|val|dev|test|eval|data)/i.test(name)).map((name) => join(data, name));
}
