// `--quantize` of the commands for images.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { Device } from "../src/compute/device/device.ts";
import { openTestDevice } from "../src/compute/device/testing/open.ts";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { writeRounded } from "../src/adapters/merge/testing/rounded.ts";
import { LAYER_WEIGHTS, writeClip, writeWiderClip, writeWiderDinov2 } from "../src/models/vision/testing/folder.ts";
import { image, randlora, writeTrained } from "./testing/images.ts";

const IMAGES = [image("rgb.png"), image("turned-6.jpg")];

let gpu: Device;
const folder = await TemporaryFolder.forTests();
const at = folder.at.bind(folder);
beforeAll(async () => {
  gpu = await openTestDevice();
  await writeClip(at("small"));
  await writeWiderClip(at("clip"));
  await writeWiderDinov2(at("dinov2"));
  await writeTrained(gpu, at("adapter"), {
    folder: at("dinov2"),
    method: "lora",
    targets: ["query", "fc2"],
    task: { kind: "classify", head: "linear", classes: ["cat", "owl"] },
  });
  for (const name of ["clip", "dinov2"]) await writeRounded(at(name), at(`${name}-Q8_0`), "Q8_0", LAYER_WEIGHTS);
});
afterAll(() => gpu.close());

interface Answer {
  readonly embeddings: readonly (readonly number[])[];
  readonly quantized?: { readonly format: string; readonly bytes: number; readonly stored_bytes: number };
}

async function embed(...args: readonly string[]): Promise<Answer> {
  const { stdout, stderr, status } = await randlora("embed", ...args, "--json", "-q");
  expect([stderr, status]).toEqual(["", 0]);
  return JSON.parse(stdout);
}

/** How far vectors are apart, beside the largest number. */
function distance(one: Answer, other: Answer): number {
  const [a, b] = [one.embeddings.flat(), other.embeddings.flat()];
  const apart = Math.max(...a.map((value, index) => Math.abs(value - (b[index] ?? NaN))));
  return apart / Math.max(...b.map(Math.abs));
}

describe("quantized weights are those that were rounded before", () => {
  test.each([
    ["clip", IMAGES],
    ["clip", ["-p", "an image of cat"]],
    ["dinov2", IMAGES],
  ])("%s", async (name, of) => {
    const [whole, blocks] = [await embed(at(name), ...of), await embed(at(name), ...of, "--quantize", "q8")];
    expect(distance(blocks, await embed(at(`${name}-Q8_0`), ...of))).toBeLessThan(2e-4);
    expect(distance(blocks, whole)).toBeGreaterThan(2e-3);
    expect(whole.quantized).toBeUndefined();
    expect(blocks.quantized?.format).toBe("Q8_0");
    // Of 32 numbers 34 bytes beside 128; rows of fc2 have two blocks.
    expect((blocks.quantized?.bytes ?? NaN) / (blocks.quantized?.stored_bytes ?? NaN)).toBeCloseTo(34 / 128, 9);
  });
});

test("an adapter is merged before: as if the merged model were given", async () => {
  const merged = await randlora("merge", at("dinov2"), at("adapter"), "--out", at("merged"), "-q");
  expect(merged.status).toBe(0);
  for (const args of [
    ["embed", ...IMAGES],
    ["classify", ...IMAGES],
  ] as const) {
    const [command, ...files] = args;
    const flags = [...files, "--quantize", "q4", "--json", "-q"];
    const beside = await randlora(command, at("dinov2"), "--adapter", at("adapter"), ...flags);
    expect(await randlora(command, at("merged"), ...flags)).toEqual(beside);
    expect(JSON.parse(beside.stdout).quantized.format).toBe("Q4_0");
  }
});

test("what is quantized is said, or that nothing is", async () => {
  await Bun.write(join(at("data"), "test", "cat", "a.png"), Bun.file(image("rgb.png")));
  await Bun.write(join(at("data"), "test", "owl", "a.png"), Bun.file(image("grey.png")));
  const measured = await randlora("eval", "images", at("clip"), "--data", at("data"), "--quantize", "q4");
  expect([measured.status, measured.stdout]).toEqual([0, expect.stringContaining("2 images")]);
  expect(measured.stderr).toMatch(/weights: [\d.]+ kB in Q4_0 \([\d.]+ kB as stored\)/);
  const small = await randlora("embed", at("small"), ...IMAGES, "--quantize", "q8", "--json");
  expect(JSON.parse(small.stdout).quantized).toBeUndefined();
  expect(small.stderr).toContain("--quantize q8: no layer's rows are whole blocks of 32 numbers");
});
