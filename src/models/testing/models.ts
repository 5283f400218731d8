// Models for tests: folders with a config.json and made-up weights.
import { join } from "node:path";
import { fileBytes, tensorEntry } from "../../files/safetensors/testing/files.ts";

/**
 * Writes a model folder with F32 weights of these shapes.
 * @param value of element number `at` of all
 */
export async function writeModel(
  folder: string,
  config: object,
  shapes: Readonly<Record<string, readonly number[]>>,
  value = (at: number): number => Math.sin(at * 1.7),
): Promise<void> {
  const header: Record<string, object> = {};
  let count = 0;
  for (const [name, shape] of Object.entries(shapes)) {
    const size = shape.reduce((product, length) => product * length, 1);
    header[name] = tensorEntry("F32", shape, count * 4, (count + size) * 4);
    count += size;
  }
  const values = Float32Array.from({ length: count }, (_, at) => value(at));
  await Bun.write(join(folder, "config.json"), JSON.stringify(config));
  await Bun.write(join(folder, "model.safetensors"), fileBytes(header, new Uint8Array(values.buffer)));
}
