// Small files for tests.
import { type Header, parseHeader, parseHeaderLength } from "../header.ts";

/** A whole safetensors file: the header as `JSON.stringify` writes it, or as the text given, then `data`. */
export function fileBytes(header: unknown, data: Uint8Array = new Uint8Array()): Uint8Array<ArrayBuffer> {
  const json = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  bytes.set(data, 8 + json.length);
  return bytes;
}

/** Parses a whole file in memory, as the file reader does. */
export function parseFile(bytes: Uint8Array): Header {
  const length = parseHeaderLength(bytes.subarray(0, 8), "x.safetensors", bytes.length);
  return parseHeader(bytes.subarray(8, 8 + length), "x.safetensors", bytes.length);
}

/** A tensor as a header describes it: its bytes go from `begin` to `end` of the data. */
export function tensorEntry(dtype: string, shape: readonly number[], begin: number, end: number): object {
  return { dtype, shape, data_offsets: [begin, end] };
}
