import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import { nestsDeeper, scanJson } from "../../files/json.ts";
import { MAX_JSON_DEPTH, readJsonText } from "../../files/read-whole.ts";
import { isObject, type JsonObject, parseLossless } from "../../files/lossless-json.ts";

/**
 * Reads a file that holds one JSON object, numbers kept as they are written. Throws `RandloraError` "file" when it
 * cannot be read, "format" when it is larger than `maxBytes`, no UTF-8, no JSON object, or names a key twice.
 */
export async function readJsonObject(path: string, maxBytes: number): Promise<JsonObject> {
  return parseJsonObject(await readJsonText(path, maxBytes, "the file is damaged, or no JSON file"), path);
}

/** As {@link readJsonObject} from a text; `where` is named in errors. */
export function parseJsonObject(text: string, where: string): JsonObject {
  if (nestsDeeper(text, MAX_JSON_DEPTH)) {
    const cause = `its arrays and objects are nested more than ${MAX_JSON_DEPTH} deep`;
    throw new RandloraError("format", `${oneLine(where)}: ${cause}`, "this is no adapter's file");
  }
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
