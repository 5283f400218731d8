// What Pillow and transformers make of the images in fixtures/images.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";

export const IMAGES = join(import.meta.dir, "../../../../fixtures/images");

const Pair = v.tuple([v.number(), v.number()]);
const Expected = v.object({
  decoded: v.record(v.string(), v.object({ size: Pair, pixels: v.string(), upright: v.string() })),
  refused: v.array(v.string()),
  resized: v.array(
    v.object({
      from: Pair,
      to: Pair,
      pixels: v.string(),
      results: v.object({ lanczos: v.string(), bilinear: v.string(), bicubic: v.string(), box: v.string() }),
    }),
  ),
  prepared: v.record(
    v.string(),
    v.object({
      settings: v.record(v.string(), v.unknown()),
      pixels: v.record(
        v.string(),
        v.object({ shape: v.tuple([v.number(), v.number(), v.number()]), values: v.string() }),
      ),
    }),
  ),
});

export const expected = v.parse(Expected, JSON.parse(readFileSync(join(IMAGES, "expected.json"), "utf8")));

/** A file of fixtures/images. */
export function bytesOf(name: string): Uint8Array {
  return new Uint8Array(readFileSync(join(IMAGES, name)));
}

/** SHA-256 of bytes, or of numbers as they lie in memory. */
export function digest(data: Uint8Array | Float32Array): string {
  return new Bun.CryptoHasher("sha256")
    .update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    .digest("hex");
}
