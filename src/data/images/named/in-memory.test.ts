// The sets whose images lie packed in a few files.
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { TemporaryFolder } from "../../../files/testing/folder.ts";
import type { ImageSet, Split } from "../datasets/types.ts";
import { IMAGES } from "../testing/expected.ts";
import { namedSet } from "./index.ts";
import { plant, REPLICAS } from "./testing/replicas.ts";

const expected: { svhn: string } = JSON.parse(readFileSync(join(IMAGES, "sets", "expected.json"), "utf8"));

/** The images of a set that lies in memory. */
async function pixelsOf(name: string, split: Split): Promise<{ set: ImageSet; pixels: Uint8Array[]; sizes: string[] }> {
  await using folder = await TemporaryFolder.create();
  await plant(folder.path, REPLICAS[name] ?? {});
  const set = await namedSet(name).open(folder.path, split);
  const pixels: Uint8Array[] = [];
  const sizes: string[] = [];
  for (let i = 0; i < set.labels.length; i++) {
    const { from } = await set.source(i);
    if (!("image" in from)) throw new Error("not in memory");
    pixels.push(from.image.data);
    sizes.push(`${from.image.width}×${from.image.height}`);
  }
  return { set, pixels, sizes };
}

describe("sets in memory", () => {
  test("MNIST: rows of grey, packed files too", async () => {
    const { set, pixels, sizes } = await pixelsOf("MNIST", "train");
    expect([[...set.labels], set.classes.length, sizes]).toEqual([[5, 0], 10, ["3×2", "3×2"]]);
    expect([...(pixels[1] ?? [])].filter((_, i) => i % 3 === 0)).toEqual([7, 8, 9, 10, 11, 12]);
    const held = await pixelsOf("MNIST", "test");
    expect([[...held.set.labels], [...(held.pixels[0] ?? [])]]).toEqual([[7], [99, 99, 99]]);
  });

  test("SVHN: columns first, and 10 is the digit 0", async () => {
    const { set, pixels, sizes } = await pixelsOf("SVHN", "train");
    expect([[...set.labels], sizes[0]]).toEqual([[1, 0, 9], "32×32"]);
    const { svhn } = expected;
    expect(
      Buffer.from(pixels[0] ?? [])
        .toString("hex")
        .slice(0, 96),
    ).toBe(svhn);
  });

  test("CIFAR: five batches of Python 2, and what Python 3 writes", async () => {
    const { set, pixels, sizes } = await pixelsOf("CIFAR10", "train");
    expect([[...set.labels], sizes[0]]).toEqual([[1, 0, 1, 0, 1, 0, 1, 0, 1, 0], "32×32"]);
    expect(set.classes).toEqual(["airplane", "automobile", "bird"]);
    const held = await pixelsOf("CIFAR10", "test");
    expect([...held.set.labels]).toEqual([1, 0]);
    expect(held.pixels).toEqual(pixels.slice(8));
    const fine = await pixelsOf("CIFAR100", "train");
    expect([fine.set.classes, [...fine.set.labels]]).toEqual([
      ["apple", "aquarium_fish", "baby"],
      [2, 1],
    ]);
    // The same two images in the other order; the first byte of each plane is the first pixel's color.
    expect(fine.pixels).toEqual([pixels[1] ?? new Uint8Array(), pixels[0] ?? new Uint8Array()]);
    const raw = readFileSync(join(IMAGES, "sets", "cifar10-batch"));
    const start = raw.indexOf(Buffer.from([0x54, 0x00, 0x18, 0x00, 0x00])) + 5;
    expect([...(pixels[0] ?? new Uint8Array()).subarray(0, 3)]).toEqual(
      [0, 1024, 2048].map((plane) => raw.readUInt8(start + plane)),
    );
  });

  test("STL10: columns first, labels from 1", async () => {
    const { set, pixels } = await pixelsOf("STL10", "train");
    expect([[...set.labels], set.classes]).toEqual([[1], ["airplane", "bird"]]);
    const at = (y: number, x: number) => [
      ...(pixels[0] ?? new Uint8Array()).subarray((y * 96 + x) * 3, (y * 96 + x) * 3 + 3),
    ];
    expect([at(0, 0), at(1, 0), at(0, 1)]).toEqual([
      [0, 80, 160],
      [1, 81, 161],
      [2, 82, 162],
    ]);
    expect([...(await pixelsOf("STL10", "test")).set.labels]).toEqual([0]);
  });
});
