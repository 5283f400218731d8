import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import type { Device } from "../src/compute/device/device.ts";
import { openTestDevice } from "../src/compute/device/testing/open.ts";
import { decodeImage } from "../src/data/images/decode.ts";
import { normalizationTable, normalizeInto } from "../src/data/images/loader.ts";
import { prepare } from "../src/data/images/job.ts";
import { readPreprocessing } from "../src/data/images/preprocessing.ts";
import type { ImageModel } from "../src/models/vision/image-model.ts";
import { idsOf, writeClip, writeDinov2 } from "../src/models/vision/testing/folder.ts";
import { writeModel } from "../src/models/testing/models.ts";
import { DINOV2, DINOV2_SHAPES, loadImageModel } from "../src/models/vision/testing/models.ts";
import type { Images } from "../src/models/vision/patches.ts";
import { readRows } from "../src/compute/tensor/read-rows.ts";
import { Run } from "../src/compute/tensor/run.ts";
import type { Tensor } from "../src/compute/tensor/tensor.ts";
import { image, randlora, writeTrained } from "./testing/images.ts";
import { join } from "node:path";
import { TemporaryFolder } from "../src/files/testing/folder.ts";

const IMAGES = [image("rgb.png"), image("turned-6.jpg")];

let gpu: Device;
const { path: parent } = await TemporaryFolder.forTests();
beforeAll(async () => {
  gpu = await openTestDevice();
  await writeClip(join(parent, "clip"));
  await writeDinov2(join(parent, "dinov2"));
});
afterAll(() => gpu.close());

const embed = (...args: readonly string[]) => randlora("embed", ...args);

/** The images as the model takes them, by the parts that prepare them. */
async function pixelsOf(folder: string): Promise<Images> {
  const preprocessing = await readPreprocessing(folder);
  const { width, height } = preprocessing;
  const pixels = new Float32Array(IMAGES.length * 3 * width * height);
  for (const [at, file] of IMAGES.entries()) {
    const image = await decodeImage(await Bun.file(file).bytes(), file, { upright: true });
    const table = normalizationTable(preprocessing);
    normalizeInto(prepare(image, preprocessing).data, table, pixels, at * 3 * width * height);
  }
  return { count: IMAGES.length, size: [height, width], pixels };
}

async function rowsOf(folder: string, record: (model: ImageModel, run: Run) => Tensor): Promise<number[][]> {
  using model = await loadImageModel(gpu, folder);
  using run = new Run(gpu);
  const y = run.keep(record(model, run));
  await run.submit();
  const rows: number[][] = [];
  for (let row = 0; row < y.shape[0]; row++) rows.push([...(await readRows(gpu, y, row, 1))]);
  gpu.memory.release(y.buffer);
  return rows;
}

function expectRows(stdout: string, wanted: number[][]): void {
  const found: { embeddings: number[][] } = JSON.parse(stdout);
  expect(Object.keys(found)).toEqual(["embeddings"]);
  expect(found.embeddings.map(({ length }) => length)).toEqual(wanted.map(({ length }) => length));
  for (const [at, row] of wanted.entries())
    for (const [column, value] of row.entries()) expect(found.embeddings[at]?.[column]).toBeCloseTo(value, 5);
}

describe.each(["clip", "dinov2"])("images by %s", (name) => {
  test("are what the model makes of them, in their order", async () => {
    const folder = join(parent, name);
    const { stdout, stderr, status } = await embed(folder, ...IMAGES, "--json");
    expect([stderr, status]).toEqual(["", 0]);
    const images = await pixelsOf(folder);
    expectRows(stdout, await rowsOf(folder, (model, run) => model.recordImages(run, images)));
  });

  test("with an adapter are those of the merged model", async () => {
    const folder = join(parent, name);
    const [adapter, merged] = [join(parent, `${name}-adapter`), join(parent, `${name}-merged`)];
    const task = { kind: "classify", head: "linear", classes: ["cat", "dog", "owl"] } as const;
    const trial = { folder, method: "randlora", targets: ["fc1", "fc2"], task } as const;
    await writeTrained(gpu, adapter, trial);
    expect((await randlora("merge", folder, adapter, "--out", merged)).status).toBe(0);
    const { stdout, status } = await embed(folder, "--adapter", adapter, ...IMAGES, "--json");
    expect(status).toBe(0);
    expect(stdout).toBe((await embed(merged, ...IMAGES, "--json")).stdout);
    expect(stdout).not.toBe((await embed(folder, ...IMAGES, "--json")).stdout);
  });
});

test("a text is what CLIP's encoder of texts makes of it, special tokens included", async () => {
  const folder = join(parent, "clip");
  const { stdout, status } = await embed(folder, "-p", "an image of cat", "--json");
  expect(status).toBe(0);
  expectRows(stdout, await rowsOf(folder, (model, run) => model.recordTexts(run, [idsOf("an image of cat")])));
});

test("people see a row for each image", async () => {
  const { stdout } = await embed(join(parent, "clip"), ...IMAGES);
  const lines = stdout.trimEnd().split("\n");
  expect(lines.length).toBe(4);
  expect(lines[1]).toContain("rgb.png");
  expect(lines[3]).toContain("vectors of 12 numbers");
});

test("a model whose numbers are none is an error, not a row of nulls", async () => {
  const broken = join(parent, "broken");
  await writeDinov2(broken);
  await writeModel(broken, DINOV2, DINOV2_SHAPES, () => NaN);
  const { stdout, stderr, status } = await embed(broken, ...IMAGES, "--json");
  expect([stdout, status]).toEqual(["", 1]);
  expect(stderr).toContain("not finite");
});

test("a model of texts is refused by its kind", async () => {
  const { stderr, status } = await embed(STORIES, ...IMAGES);
  expect(status).toBe(3);
  expect(stderr).toMatch(
    /^error: .*config.json: a language model, where CLIP or DINOv2 is needed\nhint: .*randlora chat.*\/v1\/embeddings/m,
  );
});

test.each([
  ["neither", [], "neither images nor a text", 2],
  ["both", [IMAGES[0] ?? "", "-p", "cat"], "images, and a text with -p", 2],
  ["an image that is none", [import.meta.path], "not an image of a known format", 3],
  ["an image that is not there", ["no.jpg"], "no.jpg", 1],
  ["a text for a model of images", ["-p", "cat"], "no encoder of texts", 2],
])("refused: %s", async (_, args, message, code) => {
  const { stdout, stderr, status } = await embed(join(parent, "dinov2"), ...args);
  expect([stdout, status]).toEqual(["", code]);
  expect(stderr).toContain(message);
  expect(stderr.split("\n").filter((line) => line.startsWith("error: ")).length).toBe(1);
});

test("a text in an image's place is told how texts are given, before a model is loaded", async () => {
  const { status, stderr } = await embed(join(parent, "clip"), "a red cat");
  expect([status, stderr]).toEqual([
    1,
    "error: a red cat: no such file\nhint: check the path; a text is given with -p TEXT\n",
  ]);
});
