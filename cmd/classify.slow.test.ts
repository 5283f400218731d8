import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../src/compute/device/device.ts";
import { openTestDevice } from "../src/compute/device/testing/open.ts";
import { writeClip, writeDinov2 } from "../src/models/vision/testing/folder.ts";
import { CLASSES } from "../src/train/testing/images.ts";
import { image, randlora, writeTrained } from "./testing/images.ts";
import { join } from "node:path";
import { TemporaryFolder } from "../src/files/testing/folder.ts";

const IMAGES = [image("rgb.png"), image("turned-6.jpg"), image("lossy.webp")];
const LABELS = ["cat", "dog", "owl"];

let gpu: Device;
const { path: parent } = await TemporaryFolder.forTests();
let clip: string;
let dinov2: string;
beforeAll(async () => {
  gpu = await openTestDevice();
  [clip, dinov2] = [join(parent, "clip"), join(parent, "dinov2")];
  await writeClip(clip);
  await writeDinov2(dinov2);
});
afterAll(() => gpu.close());

interface Report {
  readonly images: readonly {
    readonly path: string;
    readonly classes: readonly { readonly name: string; readonly probability: number }[];
  }[];
}

async function classify(...args: readonly string[]): Promise<Report> {
  const { stdout, stderr, status } = await randlora("classify", ...args, "--json");
  expect([stderr, status]).toEqual(["", 0]);
  const report: Report = JSON.parse(stdout);
  return report;
}

async function vectors(...args: readonly string[]): Promise<number[][]> {
  const report: { embeddings: number[][] } = JSON.parse((await randlora("embed", ...args, "--json")).stdout);
  return report.embeddings;
}

/** Softmax of exp(logit_scale) · cosine, from what `embed` says of images and prompts. */
async function expected(): Promise<Map<string, number>[]> {
  const unit = (vector: number[]) => vector.map((value) => value / Math.hypot(...vector));
  const texts: number[][] = [];
  for (const label of LABELS) texts.push(unit((await vectors(clip, "-p", `An image of ${label}`))[0] ?? []));
  // The first element of the made-up weights.
  const factor = Math.exp(0.1);
  return (await vectors(clip, ...IMAGES)).map((seen) => {
    const cosines = texts.map((text) => text.reduce((sum, value, at) => sum + value * (unit(seen)[at] ?? NaN), 0));
    const powers = cosines.map((cosine) => Math.exp(factor * cosine));
    const sum = powers.reduce((a, b) => a + b);
    return new Map(LABELS.map((label, at) => [label, (powers[at] ?? NaN) / sum]));
  });
}

test("with labels: CLIP's probabilities, the likeliest first", async () => {
  const labels = join(parent, "labels.txt");
  await Bun.write(labels, LABELS.join("\n"));
  const report = await classify(clip, "--labels", LABELS.join(","), ...IMAGES);
  expect(await classify(clip, "--labels-file", labels, ...IMAGES)).toEqual(report);
  expect(report.images.map(({ path }) => path)).toEqual(IMAGES);
  for (const [at, wanted] of (await expected()).entries()) {
    const classes = report.images[at]?.classes ?? [];
    expect(classes.length).toBe(3);
    for (const { name, probability } of classes) expect(probability).toBeCloseTo(wanted.get(name) ?? NaN, 5);
    const sorted = [...wanted].toSorted(([, a], [, b]) => b - a).map(([name]) => name);
    expect(classes.map(({ name }) => name)).toEqual(sorted);
  }
  const best = await classify(clip, "--labels", LABELS.join(","), IMAGES[0] ?? "", "--top", "1");
  expect(best.images).toEqual([{ path: IMAGES[0] ?? "", classes: (report.images[0]?.classes ?? []).slice(0, 1) }]);
});

test.each([
  ["dinov2", "query", "randlora"],
  ["clip", "q_proj", "lora"],
] as const)(
  "%s with an adapter's head: what the merged model says, under the names beside the adapter",
  async (name, target, method) => {
    const folder = join(parent, name);
    const [adapter, merged] = [join(parent, `${name}-adapter`), join(parent, `${name}-merged`)];
    const task = { kind: "classify", head: "linear", classes: CLASSES } as const;
    await writeTrained(gpu, adapter, { folder, method, targets: [target, "fc2"], task });
    const report = await classify(folder, "--adapter", adapter, ...IMAGES);
    expect(report.images.map(({ classes }) => classes.map((one) => one.name).toSorted())).toEqual(
      IMAGES.map(() => CLASSES),
    );
    expect((await randlora("merge", folder, adapter, "--out", merged)).status).toBe(0);
    expect(await classify(merged, ...IMAGES)).toEqual(report);
    // Half of ΔW is another model.
    expect(await classify(folder, "--adapter", adapter, "--scale", "0.5", ...IMAGES)).not.toEqual(report);
  },
);

test("an adapter's head of the class token is that matrix, times what embed shows", async () => {
  const adapter = join(parent, "cls-adapter");
  const task = { kind: "classify", head: "cls", classes: CLASSES } as const;
  await writeTrained(gpu, adapter, { folder: dinov2, method: "lora", targets: ["fc1"], task });
  const file = new Uint8Array(await Bun.file(join(adapter, "adapter_model.safetensors")).arrayBuffer());
  const size = Number(new DataView(file.buffer).getBigUint64(0, true));
  const header: Record<string, { data_offsets: [number, number] }> = JSON.parse(
    new TextDecoder().decode(file.subarray(8, 8 + size)),
  );
  const [begin, end] = header["base_model.model.classifier.weight"]?.data_offsets ?? [0, 0];
  const values = [...new Float32Array(file.slice(8 + size + begin, 8 + size + end).buffer)];
  const weight = CLASSES.map((_, row) => values.slice(row * 8, (row + 1) * 8));
  const tokens = await vectors(dinov2, "--adapter", adapter, ...IMAGES);
  const report = await classify(dinov2, "--adapter", adapter, ...IMAGES);
  for (const [at, token] of tokens.entries()) {
    const powers = weight.map((row) => Math.exp(row.reduce((sum, value, i) => sum + value * (token[i] ?? NaN), 0)));
    const sum = powers.reduce((a, b) => a + b);
    for (const { name, probability } of report.images[at]?.classes ?? [])
      expect(probability).toBeCloseTo((powers[CLASSES.indexOf(name)] ?? NaN) / sum, 5);
  }
  const merged = join(parent, "cls-merged");
  const { status, stderr } = await randlora("merge", dinov2, adapter, "--out", merged);
  expect([status, stderr]).toEqual([0, expect.stringContaining('brings "classifier.weight"')]);
  expect(await classify(merged, ...IMAGES)).toEqual(report);
});

test("people see the image and its classes", async () => {
  const { stdout } = await randlora("classify", clip, "--labels", "cat,dog", IMAGES[0] ?? "");
  expect(stdout.split("\n")[0]).toContain("rgb.png");
  expect(stdout).toMatch(/^ *\d+\.\d\d %  (cat|dog)$/m);
});

test.each([
  ["no head and no labels", "clip", [], "no head that was trained", 2],
  ["labels for a model without texts", "dinov2", ["--labels", "cat,dog"], "no encoder of texts", 2],
  ["labels twice", "clip", ["--labels", "cat", "--labels-file", "labels.txt"], "both name the classes", 2],
  ["an empty label", "clip", ["--labels", "cat,,dog"], "an empty name", 2],
  ["a label that does not fit", "clip", ["--labels", "cat,owl owl owl"], "this model takes 6", 3],
  ["labels that are not there", "clip", ["--labels-file", "no.txt"], "no.txt", 1],
])("refused: %s", async (_, name, args, message, code) => {
  const { stdout, stderr, status } = await randlora("classify", join(parent, name), IMAGES[0] ?? "", ...args);
  expect([stdout, status]).toEqual(["", code]);
  expect(stderr).toContain(message);
  expect(stderr.split("\n").filter((line) => line.startsWith("error: ")).length).toBe(1);
});
