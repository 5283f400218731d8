import { type FileHandle, open } from "node:fs/promises";
import { RandloraError } from "../../files/errors.ts";
import { type Dtype, dtypeBytes } from "../../files/safetensors/dtype.ts";
import { naming, oneLine, quote } from "../../files/failure.ts";
import { shapeElements } from "../../files/safetensors/header.ts";
import { isObject, type Json, type JsonObject, stringifyLossless, toPlainObject } from "../../files/lossless-json.ts";
import type { MethodDefinition } from "../method/method.ts";
import { checkedMethod } from "../methods.ts";
import { indexByName, PEFT_PREFIX, readJsonObject } from "./peft.ts";
import { sharedName, memoryTensor, type Tolerate } from "../files/tensors.ts";
import type { Adapter, AdapterContent, AdapterTensor } from "../files/adapter.ts";

/** `format` and `version` of the files that are read and written. */
export const JSON_FORMAT = "randlora-adapter";
export const JSON_VERSION = 1;

/** The keys of adapter.json that are not PEFT's. `metadata` appears where a PEFT file said more than `format`. */
export const OWN_KEYS: ReadonlySet<string> = new Set(["format", "version", "bases", "metadata", "tensors"]);

/** The element types that adapter.json knows. */
export const JSON_DTYPES: ReadonlySet<string> = new Set<Dtype>(["F32", "F16", "BF16", "I32"]);

// Text is held whole; beyond this a safetensors file is the better container.
const MAX_BYTES = 2 ** 30;

/**
 * Opens an adapter.json (version 1). Throws `RandloraError` "file", "format" or "adapter": unknown version or method,
 * tensors that are not what they say.
 *
 * @param tolerate told of what is wrong with method and settings; the rest is then given
 */
export async function openJson(path: string, tolerate?: Tolerate): Promise<Adapter> {
  const root = await readJsonObject(path, MAX_BYTES);
  const refuse = (cause: string, hint = "the file is damaged or incomplete") =>
    new RandloraError("format", `${oneLine(path)}: ${cause}`, hint);
  const { format, version, bases, tensors, metadata = {} } = root;
  if (format !== JSON_FORMAT) {
    throw refuse(`"format" is not ${quote(JSON_FORMAT)}`, "this is not an adapter.json written by randlora");
  }
  if (version !== JSON_VERSION) {
    const found = typeof version === "number" ? version : "not a number";
    throw refuse(`"version" is ${found}; only ${JSON_VERSION} is known`, "use a newer randlora");
  }
  if (bases !== undefined && !isObject(bases)) throw refuse('"bases" is not an object');
  if (!isObject(tensors)) throw refuse('"tensors" is missing or not an object');
  if (!isObject(metadata)) throw refuse('"metadata" is not an object');
  const config = Object.fromEntries(Object.entries(root).filter(([key]) => !OWN_KEYS.has(key)));
  const settings = toPlainObject(config);
  const method = checkedMethod({ config, settings, configFile: path }, tolerate);
  const shared = method?.shared ?? [];
  const read = Object.entries(tensors).map(([name, value]) => readTensor(name, value, { shared }, path));
  const close = () => Promise.resolve();
  return {
    path,
    file: path,
    configFile: path,
    format: "json",
    config,
    settings,
    bases,
    tensors: indexByName(read, path),
    metadata: readMetadata(metadata, path),
    close,
    [Symbol.asyncDispose]: close,
  };
}

function readMetadata(metadata: JsonObject, path: string): ReadonlyMap<string, string> {
  return new Map(
    Object.entries(metadata).map(([key, text]) => {
      if (typeof text === "string") return [key, text];
      throw new RandloraError("format", `${oneLine(path)}: metadata ${quote(key)} is not a string`);
    }),
  );
}

function readTensor(key: string, value: Json, method: Pick<MethodDefinition, "shared">, path: string): AdapterTensor {
  const refuse = (cause: string, hint = "a tensor has dtype, shape and data") =>
    new RandloraError("format", `${oneLine(path)}: tensor ${quote(key)}: ${cause}`, hint);
  if (!isObject(value)) throw refuse("not an object");
  const { dtype, shape, data, ...rest } = value;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) throw refuse(`unknown key ${quote(unknown)}`);
  if (typeof dtype !== "string" || !isJsonDtype(dtype)) {
    throw refuse(`dtype ${typeof dtype === "string" ? quote(dtype) : "is missing"}`, "F32, F16, BF16 or I32");
  }
  if (!isShape(shape)) throw refuse("shape is not a list of nonnegative integers");
  if (typeof data !== "string") throw refuse("data is missing or not a string");
  let bytes: Uint8Array;
  try {
    bytes = Uint8Array.fromBase64(data, { lastChunkHandling: "strict" });
  } catch {
    throw refuse("data is not base64", "the file is damaged or incomplete");
  }
  const expected = shapeElements(shape) * dtypeBytes(dtype);
  if (bytes.length !== expected) {
    const cause = `${dtype} of shape [${shape.join(", ")}] takes ${expected} bytes, but data has ${bytes.length}`;
    throw refuse(cause, "the file is damaged or incomplete");
  }
  return memoryTensor(internalName(key, method), dtype, shape, bytes);
}

/** Other writers may have left PEFT's prefix, or taken too much off the tensors that layers share. */
function internalName(key: string, { shared }: Pick<MethodDefinition, "shared">): string {
  const name = key.startsWith(PEFT_PREFIX) ? key.slice(PEFT_PREFIX.length) : key;
  return shared.includes(name) ? sharedName(name) : name;
}

function isJsonDtype(name: string): name is "F32" | "F16" | "BF16" | "I32" {
  return JSON_DTYPES.has(name);
}

function isShape(value: Json | undefined): value is readonly number[] {
  return (
    Array.isArray(value) && value.every((size) => typeof size === "number" && Number.isSafeInteger(size) && size >= 0)
  );
}

// A multiple of 3, so that pieces of base64 join without padding between them.
const PIECE = 3 << 20;

/**
 * Writes an adapter.json to `path`, tensor by tensor: give it a temporary name first (Publication). Throws
 * `RandloraError` "file"; "format" for a tensor or a key that adapter.json cannot hold.
 */
export async function writeJson(path: string, content: AdapterContent): Promise<void> {
  const head = headOf(content);
  for (const tensor of content.tensors) checkTensor(tensor);
  const handle = await naming(path, "write", open(path, "w"));
  try {
    await put(handle, path, `${head},\n  "tensors": {`);
    for (const [i, tensor] of content.tensors.entries()) {
      const { name, dtype, shape } = tensor;
      await put(handle, path, `${i === 0 ? "" : ","}\n    ${JSON.stringify(name)}: `);
      await put(handle, path, `{"dtype":"${dtype}","shape":[${shape.join(",")}],"data":"`);
      for (let start = 0; start < tensor.bytes; start += PIECE) {
        const piece = new Uint8Array(Math.min(PIECE, tensor.bytes - start));
        await tensor.read(piece, start);
        await put(handle, path, piece.toBase64());
      }
      await put(handle, path, '"}');
    }
    await put(handle, path, "\n  }\n}\n");
  } finally {
    await handle.close();
  }
}

/** Everything before the tensors, without the closing brace. */
function headOf({ config, bases, metadata }: AdapterContent): string {
  const taken = Object.keys(config).find((key) => OWN_KEYS.has(key));
  if (taken !== undefined) {
    const cause = `the configuration has a key ${quote(taken)}, which means something else in adapter.json`;
    throw new RandloraError("format", cause, "rename it in adapter_config.json");
  }
  const head = {
    format: JSON_FORMAT,
    version: JSON_VERSION,
    ...config,
    ...(bases === undefined ? {} : { bases }),
    ...(metadata.size === 0 ? {} : { metadata: Object.fromEntries(metadata) }),
  };
  return stringifyLossless(head).replace(/\n\}$/, "");
}

function checkTensor({ name, dtype }: AdapterTensor): void {
  if (JSON_DTYPES.has(dtype)) return;
  const cause = `tensor ${quote(oneLine(name))} is ${dtype}, which adapter.json cannot hold`;
  throw new RandloraError("format", cause, "only F32, F16, BF16 and I32 can be written: keep the PEFT folder");
}

async function put(handle: FileHandle, path: string, text: string): Promise<void> {
  await naming(path, "write", handle.appendFile(text));
}
