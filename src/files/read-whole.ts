import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { RandloraError } from "./errors.ts";
import { naming, oneLine } from "./failure.ts";
import { nestsDeeper } from "./json.ts";

const MIB = 2 ** 20;

/** Of files with settings: config.json, tokenizer_config.json, chat templates. The largest of real models have 2 MiB. */
export const MAX_SETTINGS_BYTES = 32 * MIB;
/** Of arrays and objects in each other in a model's files: real ones have 10, and whatever walks through them calls itself. */
export const MAX_JSON_DEPTH = 200;

/**
 * Reads a file whole, in memory that `most` bounds. It must be a regular file, after links: a pipe would be waited for
 * for ever, a device never ends.
 *
 * @param options.pipes allow them: for files that the user names (`<(command)`)
 * @throws RandloraError `file` when it cannot be read or is no file, `format` when it is longer than `most` bytes
 */
export async function readWhole(
  path: string,
  most: number,
  { pipes = false }: { pipes?: boolean } = {},
): Promise<Uint8Array> {
  // Not blocking, because opening a pipe waits for a writer. (Windows has neither the flag nor the need.)
  const flags = constants.O_RDONLY | (pipes ? 0 : (constants.O_NONBLOCK ?? 0));
  const handle = await naming(path, "read", open(path, flags));
  try {
    const found = await naming(path, "read", handle.stat());
    if (found.isDirectory() || !(pipes || found.isFile())) {
      const what = found.isDirectory() ? "this is a folder, not a file" : "this is not a file";
      throw new RandloraError("file", `cannot read ${oneLine(path)}: ${what}`, "check the path");
    }
    if (found.size > most) throw tooLong(path, most);
    return await naming(path, "read", readUpTo(handle, path, found.size, most));
  } finally {
    await handle.close();
  }
}

/** `size` is a first guess: files may grow, and those of /proc say 0. */
async function readUpTo(handle: FileHandle, path: string, size: number, most: number): Promise<Uint8Array> {
  let bytes = Buffer.allocUnsafe(Math.max(size, 1024) + 1);
  let filled = 0;
  for (;;) {
    const { bytesRead } = await handle.read(bytes, filled, bytes.length - filled, null);
    if (bytesRead === 0) return bytes.subarray(0, filled);
    filled += bytesRead;
    if (filled > most) throw tooLong(path, most);
    if (filled === bytes.length) bytes = Buffer.concat([bytes, Buffer.allocUnsafe(bytes.length)]);
  }
}

/**
 * The text of a file that should hold JSON: UTF-8 without a byte order mark, nested no deeper than
 * {@link MAX_JSON_DEPTH}. @throws RandloraError as {@link readWhole}; `format`
 */
export async function readJsonText(path: string, most: number, hint: string): Promise<string> {
  return decodeJson(await readWhole(path, most), path, hint);
}

/** {@link readJsonText} of bytes that are already here. */
export function decodeJson(bytes: Uint8Array, path: string, hint: string): string {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new RandloraError("format", `${oneLine(path)}: not UTF-8 text`, hint, { cause });
  }
  if (!nestsDeeper(text, MAX_JSON_DEPTH)) return text;
  const cause = `its arrays and objects are nested more than ${MAX_JSON_DEPTH} deep`;
  throw new RandloraError("format", `${oneLine(path)}: ${cause}`, hint);
}

/** Reads JSON. @throws RandloraError as {@link readJsonText}; `format` naming the place where it is not JSON */
export async function readJson(path: string, most: number, hint: string): Promise<unknown> {
  return parseJson(await readJsonText(path, most, hint), path, hint);
}

/** Parses JSON. @throws RandloraError `format` naming the file */
export function parseJson(text: string, path: string, hint: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new RandloraError("format", `${oneLine(path)}: not JSON: ${oneLine(reason)}`, hint, { cause });
  }
}

function tooLong(path: string, most: number): RandloraError {
  const cause = `it is longer than the ${Math.floor(most / MIB)} MiB that are read of such a file`;
  return new RandloraError("format", `${oneLine(path)}: ${cause}`, "this is not the file that it should be");
}
