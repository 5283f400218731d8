import { access, constants, copyFile, mkdir, readdir, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { naming } from "../safetensors/failure.ts";
import { METRICS_FILE, RUNS, SETTINGS_FILE } from "../train/run-files.ts";

/** Weights in any format: those of the output are written anew, and another format's would be the unmerged ones. */
const WEIGHTS =
  /\.(safetensors|safetensors\.index(\.\w+)?\.json|bin|bin\.index(\.\w+)?\.json|pth?|ckpt|gguf|ggml|onnx|onnx_data|h5|msgpack|npz|ot|tflite|mlmodel)$/i;

/** What is not part of a model: version control, download state, unfinished outputs, the logs of trainings. */
const CLUTTER = new RegExp(`^(\\.git|\\.gitattributes|\\.cache|\\.DS_Store|.*\\.part|${RUNS})$`);

/**
 * Copies everything but weights and the model's config.json from a model folder, subfolders too; links are followed, as the Hub's
 * cache is made of them.
 * @param skip files and folders to pass over, as paths below `from`: the checkpoint's own files, and the output where it lies inside
 * @returns the weight files that were left out although they are no part of the checkpoint (another format, stale shards)
 */
export async function copyModelFiles(from: string, to: string, skip: ReadonlySet<string>): Promise<string[]> {
  return copyFolder(from, to, new Set([...skip, join(from, "config.json")]), []);
}

/** The folders that {@link copyModelFiles} would copy of this one. */
export async function foldersIn(from: string): Promise<string[]> {
  const folders: string[] = [];
  for (const name of await naming(from, "read", readdir(from))) {
    if (CLUTTER.test(name)) continue;
    const found = await stat(join(from, name)).catch(() => undefined);
    if (found?.isDirectory() === true && !(await isRun(join(from, name)))) folders.push(name);
  }
  return folders;
}

/** @param above the real paths of the folders that lead here: a link back to one of them is passed over */
async function copyFolder(
  from: string,
  to: string,
  skip: ReadonlySet<string>,
  above: readonly string[],
): Promise<string[]> {
  const leftOut: string[] = [];
  const here = await naming(from, "read", realpath(from));
  if (above.includes(here)) return leftOut;
  await naming(to, "write", mkdir(to, { recursive: true }));
  for (const name of (await naming(from, "read", readdir(from))).toSorted()) {
    const path = join(from, name);
    if (CLUTTER.test(name) || skip.has(path)) continue;
    const found = await naming(path, "read", stat(path));
    if (found.isDirectory()) {
      if (await isRun(path)) continue;
      const inner = await copyFolder(path, join(to, name), skip, [...above, here]);
      leftOut.push(...inner.map((file) => join(name, file)));
    } else if (WEIGHTS.test(name)) {
      leftOut.push(name);
    } else if (found.isFile()) {
      // A copy that fails does not say on which side.
      await naming(path, "read", access(path, constants.R_OK));
      await naming(join(to, name), "write", copyFile(path, join(to, name)));
    }
  }
  return leftOut;
}

/** A training run lies where its user said, be it in the model's folder: it is no part of the model, and may be writing this copy. */
async function isRun(folder: string): Promise<boolean> {
  const isThere = (name: string) =>
    access(join(folder, name)).then(
      () => true,
      () => false,
    );
  return (await isThere(SETTINGS_FILE)) && (await isThere(METRICS_FILE));
}
