import type { Adapter } from "./adapter.ts";
import { stringifyLossless } from "../../files/lossless-json.ts";

/** Bytes read at a time. */
const PORTION = 8 << 20;

/**
 * SHA-256 of what an adapter is made of: configuration, what it records of its bases, and every byte of its tensors in
 * the order of the file. Where it lies does not matter.
 * @throws RandloraError `file`
 */
export async function adapterFingerprint({ config, bases, tensors }: Adapter): Promise<string> {
  const hash = new Bun.CryptoHasher("sha256");
  hash.update(`${stringifyLossless([config, bases ?? null], 0)}\n`);
  for (const { name, dtype, shape, bytes, read } of tensors.values()) {
    hash.update(`${JSON.stringify([name, dtype, shape])}\n`);
    for (let start = 0; start < bytes; start += PORTION) {
      const portion = new Uint8Array(Math.min(PORTION, bytes - start));
      await read(portion, start);
      hash.update(portion);
    }
  }
  return hash.digest("hex");
}
