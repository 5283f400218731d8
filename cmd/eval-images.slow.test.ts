import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Device } from "../src/compute/device/device.ts";
import { openTestDevice } from "../src/compute/device/testing/open.ts";
import { writeClip, writeDinov2 } from "../src/models/vision/testing/folder.ts";
import { image, randlora, writeTrained } from "./testing/images.ts";
import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import { TemporaryFolder } from "../src/files/testing/folder.ts";

/** What the test split has, and under which names. */
const IMAGES = {
  cat: ["rgb.png", "turned-6.jpg", "palette.png"],
  owl: ["lossy.webp", "grey.jpg"],
} as const;
const FILES = Object.entries(IMAGES).flatMap(([label, names]) => names.map((name) => ({ label, name })));
const CLASSES = ["cat", "dog", "owl"];

let gpu: Device;
const { path: parent } = await TemporaryFolder.forTests();
let clip: string;
let dinov2: string;
let data: string;
let adapter: string;
beforeAll(async () => {
  gpu = await openTestDevice();
  [clip, dinov2, data, adapter] = [
    join(parent, "clip"),
    join(parent, "dinov2"),
    join(parent, "data"),
    join(parent, "adapter"),
  ];
  await writeClip(clip);
  await writeDinov2(dinov2);
  for (const { label, name } of FILES) await cp(image(name), join(data, "test", label, name));
  await cp(image("rgb.png"), join(data, "val", "cat", "rgb.png"));
  await cp(image("rgb.png"), join(data, "train", "fish", "rgb.png"));
  const task = { kind: "classify", head: "linear", classes: CLASSES } as const;
  await writeTrained(gpu, adapter, { folder: dinov2, method: "randlora", targets: ["query", "fc2"], task });
});
afterAll(() => gpu.close());

interface Report {
  readonly images: number;
  readonly accuracy: number;
  readonly loss: number;
  readonly per_class: Readonly<Record<string, number | null>>;
  readonly seconds: number;
  readonly images_per_s: number;
}

async function evaluate(...args: readonly string[]): Promise<Report> {
  const { stdout, stderr, status } = await randlora("eval", "images", ...args, "--json", "-q");
  expect([stderr, status]).toEqual(["", 0]);
  const report: Report = JSON.parse(stdout);
  expect(Object.keys(report)).toEqual(["images", "accuracy", "loss", "per_class", "seconds", "images_per_s"]);
  return report;
}

/** The same from what `classify` says of each image. */
async function expected(classes: readonly string[], ...args: readonly string[]) {
  const paths = FILES.map(({ label, name }) => join(data, "test", label, name));
  const { stdout } = await randlora("classify", ...args, ...paths, "--json");
  const { images }: { images: { classes: { name: string; probability: number }[] }[] } = JSON.parse(stdout);
  const right = FILES.map(({ label }, at) => images[at]?.classes[0]?.name === label);
  const losses = FILES.map(({ label }, at) => {
    return -Math.log(images[at]?.classes.find(({ name }) => name === label)?.probability ?? NaN);
  });
  const share = (of: boolean[]) => (of.length === 0 ? null : of.filter(Boolean).length / of.length);
  const perClass = classes.map((name) => [name, share(right.filter((_, at) => FILES[at]?.label === name))]);
  const loss = losses.reduce((a, b) => a + b) / FILES.length;
  return { images: FILES.length, accuracy: share(right), loss, per_class: Object.fromEntries(perClass) };
}

function expectSame(found: Report, wanted: Awaited<ReturnType<typeof expected>>): void {
  const { loss, accuracy, images, per_class: perClass } = found;
  expect({ accuracy, images, per_class: perClass }).toEqual({
    accuracy: wanted.accuracy ?? NaN,
    images: wanted.images,
    per_class: wanted.per_class,
  });
  expect(loss).toBeCloseTo(wanted.loss, 5);
}

test("an adapter's head: what classify says of each image, whatever the batches; it may know more classes", async () => {
  const args = [dinov2, "--adapter", adapter];
  const wanted = await expected(CLASSES, ...args);
  const found = await evaluate(...args, "--data", data);
  expectSame(found, wanted);
  expect(found.per_class["dog"]).toBe(null);
  expect(found.images_per_s).toBeCloseTo(5 / found.seconds, 6);
  expectSame(await evaluate(...args, "--data", data, "--batch-size", "2", "--head", "linear"), wanted);
  expect((await evaluate(...args, "--data", data, "--split", "valid")).images).toBe(1);
});

test("a head whose rows nothing names has the classes of the images, in their order", async () => {
  const [nameless, three] = [join(parent, "nameless"), join(parent, "three")];
  await cp(adapter, nameless, { recursive: true });
  await rm(join(nameless, "classes.json"));
  await cp(data, three, { recursive: true });
  await cp(image("grey.jpg"), join(three, "test", "dog", "grey.jpg"));
  const { seconds: _, images_per_s: __, ...found } = await evaluate(dinov2, "--adapter", nameless, "--data", three);
  expect(await evaluate(dinov2, "--adapter", adapter, "--data", three)).toMatchObject(found);
  const { status, stderr } = await randlora("eval", "images", dinov2, "--adapter", nameless, "--data", data);
  expect([status, stderr]).toEqual([3, expect.stringContaining("3 rows that nothing names, and the images are of 2")]);
});

describe("zero-shot", () => {
  test("is on the names of the folders", async () => {
    const found = await evaluate(clip, "--data", data);
    expectSame(found, await expected(["cat", "owl"], clip, "--labels", "cat,owl"));
  });

  test("with templates: other prompts give another head", async () => {
    const [one, two] = [join(parent, "one.txt"), join(parent, "two.txt")];
    await Bun.write(one, "an image of {}\n");
    await Bun.write(two, "an image of {}\nphoto {}\n");
    const simple = await evaluate(clip, "--data", data);
    expect((await evaluate(clip, "--data", data, "--templates", one)).loss).toBe(simple.loss);
    const both = await evaluate(clip, "--data", data, "--templates", two, "--head", "zero-shot");
    expect(both.loss).not.toBeCloseTo(simple.loss, 6);
  });
});

test("people see a row for each class", async () => {
  const { stdout } = await randlora("eval", "images", clip, "--data", data, "-q");
  expect(stdout.split("\n")[1]).toMatch(/^cat +\d+\.\d\d %$/);
  expect(stdout).toMatch(/^5 images, .* a second; loss \d+\.\d{4}$/m);
});

test.each([
  ["no data", [], "--data is missing", 2],
  ["no such folder", ["--data", "/nowhere"], "no such file or folder", 1],
  ["no such split", ["--data", join(import.meta.dir, "../fixtures/data")], "no test split", 3],
  ["a head that is not there", ["--head", "cls"], "--head cls: the head is linear", 2],
  ["zero-shot without texts", ["--head", "zero-shot"], "no encoder of texts", 2],
  ["templates of a trained head", ["--templates", "simple"], "the head was trained", 2],
  ["a class that the head does not know", ["--split", "train"], '"fish" is none of the 3 known classes', 3],
])("refused: %s", async (_, args, message, code) => {
  const where = args.includes("--data") || args.length === 0 ? [] : ["--data", data];
  const all = ["eval", "images", dinov2, "--adapter", adapter, ...where, ...args];
  const { stdout, stderr, status } = await randlora(...all);
  expect([stdout, status]).toEqual(["", code]);
  expect(stderr).toContain(message);
  expect(stderr.split("\n").filter((line) => line.startsWith("error: ")).length).toBe(1);
});
