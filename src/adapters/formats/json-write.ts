import { type FileHandle, open } from "node:fs/promises";
import { RandloraError } from "../../files/errors.ts";
import { naming, oneLine, quote } from "../../files/failure.ts";
import type { AdapterContent, AdapterTensor } from "../files/adapter.ts";
import { JSON_DTYPES, JSON_FORMAT, JSON_VERSION, OWN_KEYS } from "./json.ts";
import { stringifyLossless } from "../../files/lossless-json.ts";

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
  throw new RandloraError("format", cause, "only F32, F16 and BF16 can be written: keep the PEFT folder");
}

async function put(handle: FileHandle, path: string, text: string): Promise<void> {
  await naming(path, "write", handle.appendFile(text));
}
