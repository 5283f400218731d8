import { createHash } from "node:crypto";
import type { Bases } from "./drawing/bases.ts";

/** Bytes that are hashed before others may go on. */
const PART = 16 * 2 ** 20;

/** The same for two pairs of bases if, and only if, all their elements are the same and stored alike. */
export async function identityOf({ r, a, b }: Pick<Bases, "r" | "a" | "b">): Promise<string> {
  const hash = createHash("sha256");
  for (const { rows, cols, stride, storage } of [a, b]) {
    const { data, ...known } = { data: undefined, ...storage };
    hash.update(JSON.stringify({ r, rows, cols, stride, ...known }));
    if (data === undefined) continue;
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    for (let at = 0; at < bytes.length; at += PART) {
      hash.update(bytes.subarray(at, at + PART));
      await new Promise(setImmediate);
    }
  }
  return hash.digest("hex");
}
