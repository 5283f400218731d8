import { open, stat } from "node:fs/promises";
import { RandloraError } from "../errors.ts";
import { naming, oneLine, quote } from "../safetensors/failure.ts";
import { scanJson } from "../safetensors/json.ts";
import { isObject, type JsonObject, parseLossless } from "./lossless-json.ts";

const MIB = 2 ** 20;

/**
 * Reads a file that holds one JSON object, numbers kept as they are written. Throws `RandloraError` "file" when it
 * cannot be read, "format" when it is larger than `maxBytes`, no UTF-8, no JSON object, or names a key twice.
 */
export async function readJsonObject(path: string, maxBytes: number): Promise<JsonObject> {
  return parseJsonObject(await readText(path, maxBytes), path);
}

/** As {@link readJsonObject} from a text; `where` is named in errors. */
export function parseJsonObject(text: string, where: string): JsonObject {
  let value;
  try {
    value = parseLossless(text);
  } catch (thrown) {
    const cause = thrown instanceof Error ? oneLine(thrown.message) : "?";
    throw new RandloraError("format", `${oneLine(where)}: not JSON (${cause})`, "the file is damaged or incomplete");
  }
  if (!isObject(value))
    throw new RandloraError("format", `${oneLine(where)}: not a JSON object`, "this is no adapter's file");
  const { duplicate } = scanJson(text);
  if (duplicate === undefined) return value;
  const cause = `it names ${duplicate.map(quote).join(" / ")} twice`;
  throw new RandloraError("format", `${oneLine(where)}: ${cause}`, "leave one of them");
}

async function readText(path: string, maxBytes: number): Promise<string> {
  // Opening a FIFO would wait for a writer for ever, so look before opening.
  if (!(await naming(path, "read", stat(path))).isFile()) {
    throw new RandloraError("file", `cannot read ${oneLine(path)}: this is not a file`, "check the path");
  }
  const handle = await naming(path, "read", open(path, "r"));
  try {
    const { size } = await naming(path, "read", handle.stat());
    if (size > maxBytes) {
      const cause = `${Math.ceil(size / MIB)} MiB are more than the ${Math.floor(maxBytes / MIB)} that are read`;
      throw new RandloraError("format", `${oneLine(path)}: ${cause}`, "use a PEFT folder for large adapters");
    }
    const bytes = await naming(path, "read", handle.readFile());
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    } catch {
      throw new RandloraError("format", `${oneLine(path)}: not UTF-8 text`, "the file is damaged, or no JSON file");
    }
  } finally {
    await handle.close();
  }
}
