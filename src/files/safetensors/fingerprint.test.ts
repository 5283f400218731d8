import { expect, test } from "bun:test";
import { mkdir, writeFile } from "node:fs/promises";
import { Checkpoint } from "./checkpoint.ts";
import { fingerprint } from "./fingerprint.ts";
import { SafetensorsWriter } from "./writer.ts";
import { TemporaryFolder } from "../testing/folder.ts";

const SHAPES = { "b.weight": [64, 40], "a.weight": [3, 1], empty: [0, 4] } as const;

/** Writes the tensors into files of some each, and takes the fingerprint; `changed` is a byte of the first tensor. */
async function fingerprintOf(files: readonly (keyof typeof SHAPES)[][], changed?: number): Promise<string> {
  await using folder = await TemporaryFolder.create();
  await mkdir(folder.at("model"));
  const map: Record<string, string> = {};
  for (const [i, names] of files.entries()) {
    const file = `model-${i}.safetensors`;
    const planned = names.map((name) => ({ name, dtype: "F32" as const, shape: SHAPES[name] }));
    await using writer = await SafetensorsWriter.create(folder.at("model", file), planned);
    for (const name of names) {
      const [rows, columns] = SHAPES[name];
      const bytes = new Uint8Array(rows * columns * 4).map((_, index) => index % 251);
      if (name === "b.weight" && changed !== undefined) bytes[changed] = 255;
      await writer.append(name, bytes);
      map[name] = file;
    }
    await writer.finish();
  }
  await writeFile(folder.at("model", "model.safetensors.index.json"), JSON.stringify({ weight_map: map }));
  await using checkpoint = await Checkpoint.open(folder.at("model"));
  return await fingerprint(checkpoint);
}

test("tells other weights, at the beginning, in the middle and at the end of a tensor, from the same in other files", async () => {
  const whole = await fingerprintOf([["b.weight", "a.weight", "empty"]]);
  expect(await fingerprintOf([["a.weight"], ["empty", "b.weight"]])).toBe(whole);
  for (const changed of [0, 5120, 10_239]) {
    expect(await fingerprintOf([["b.weight", "a.weight", "empty"]], changed)).not.toBe(whole);
  }
  expect(await fingerprintOf([["b.weight", "a.weight"]])).not.toBe(whole);
});
