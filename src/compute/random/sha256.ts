import { createHash } from "node:crypto";

/** Hexadecimal SHA-256 of numbers as f32, little-endian whatever the machine, and of a text behind them. */
export function sha256OfF32(values: Float32Array, text = ""): string {
  const bytes = new DataView(new ArrayBuffer(values.length * 4));
  values.forEach((value, index) => bytes.setFloat32(index * 4, value, true));
  return createHash("sha256").update(bytes).update(text).digest("hex");
}
