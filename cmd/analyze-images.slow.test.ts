import { afterAll, beforeAll, expect, test } from "bun:test";
import * as v from "valibot";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { CORNER_WEIGHTS, writeCorner, writeImages } from "../src/measure/testing/images.ts";
import type { Device } from "../src/compute/device/device.ts";
import { openTestDevice } from "../src/compute/device/testing/open.ts";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { writeDinov2 } from "../src/models/vision/testing/folder.ts";
import { Cka, PlaneOfImages } from "./testing/analyses.ts";
import { randlora, writeTrained } from "./testing/images.ts";

/** Not in the order of the folders. */
const CLASSES = ["owl", "cat", "dog", "fish"];

let gpu: Device;
const folder = await TemporaryFolder.forTests();
const [clip, dinov2, data] = [folder.at("clip"), folder.at("dinov2"), folder.at("data")];
const [one, two] = [folder.at("one"), folder.at("two")];
const corners: string[] = [];
beforeAll(async () => {
  gpu = await openTestDevice();
  await writeCorner(clip, Math.sin);
  for (const [at, weights] of CORNER_WEIGHTS.entries()) {
    corners.push(await writeCorner(folder.at(`corner-${at}`), weights));
  }
  await writeDinov2(dinov2);
  await writeImages(data, "test");
  for (const [name, targets] of [
    [one, ["query", "fc2"]],
    [two, ["value"]],
  ] as const) {
    const task = { kind: "classify", head: "linear", classes: CLASSES } as const;
    await writeTrained(gpu, name, { folder: dinov2, method: "lora", targets, task });
  }
});
afterAll(() => gpu.close());

async function report<S extends v.GenericSchema>(schema: S, ...args: readonly string[]): Promise<v.InferOutput<S>> {
  const { stdout, stderr, status } = await randlora("analyze", ...args, "--json", "-q");
  expect([stderr, status]).toEqual(["", 0]);
  return v.parse(schema, JSON.parse(stdout));
}

async function lossOf(...args: readonly string[]): Promise<number> {
  const { stdout } = await randlora("eval", "images", ...args, "--json", "-q");
  return v.parse(v.object({ loss: v.number() }), JSON.parse(stdout)).loss;
}

test("CKA of class tokens: 1 where nothing changed, below where an adapter came in", async () => {
  const args = ["cka", dinov2, "--reference", dinov2, "--adapter", one, "--adapter", dinov2, "--data", data];
  const { layers, samples } = await report(Cka, ...args, "--estimator", "full", "--samples", "8");
  expect(samples).toBe(8);
  expect(layers).toHaveLength(4);
  expect(layers[0]?.name).toBe("encoder.layer.0.attention.output.dense");
  for (const { cka } of layers) {
    expect(cka[dinov2]).toBeCloseTo(1, 9);
    expect(cka[one]).toBeLessThan(1 - 1e-7);
  }
});

const at = (...names: readonly string[]) => names.flatMap((name) => ["--at", name]);

test("a plane has the losses of eval images at its corners: trained heads, in the heads' order of the classes", async () => {
  const args = ["plane", dinov2, ...at(one, two, one), "--data", data, "--range", "0,2,0,2", "--grid", "2"];
  const { corners: found, loss, samples } = await report(PlaneOfImages, ...args);
  expect([samples, loss.flat().length]).toEqual([10, 4]);
  expect(loss[0]?.[0]).toBe(found.A);
  expect(found.A).toBeCloseTo(await lossOf(dinov2, "--adapter", one, "--data", data), 4);
  expect(found.B).toBeCloseTo(await lossOf(dinov2, "--adapter", two, "--data", data), 4);
});

test("the same of whole models and heads of texts", async () => {
  const args = ["plane", clip, ...at(...corners), "--data", data, "--grid", "1", "--templates", "simple"];
  const { corners: found } = await report(PlaneOfImages, ...args);
  for (const [index, loss] of [found.A, found.B, found.C].entries()) {
    expect(loss).toBeCloseTo(await lossOf(corners[index] ?? "", "--data", data), 4);
  }
  const { stdout } = await randlora("analyze", ...args, "-q");
  expect(stdout).toContain("1 × 1 points, 10 images\n");
});

test.each([
  [
    "a length of images",
    ["cka", dinov2, "--reference", one, "--adapter", two, "--max-length=9"],
    "--max-length: MODEL",
  ],
  [
    "a split of texts",
    ["cka", STORIES, "--reference", STORIES, "--adapter", STORIES, "--split=test"],
    "--split: MODEL",
  ],
  ["a head of texts' models", ["plane", STORIES, ...at(STORIES, STORIES, STORIES), "--head=cls"], "--head: MODEL"],
  ["a head that is not there", ["plane", dinov2, ...at(one, two, one), "--head=cls"], "the head is linear"],
  ["a corner without the head", ["plane", dinov2, ...at(one, two, dinov2)], "a corner with no head"],
  ["no head at all", ["plane", dinov2, ...at(dinov2, dinov2, dinov2)], "no head that was trained"],
])("refuses %s", async (_, args, message) => {
  const { stdout, stderr, status } = await randlora("analyze", ...args, "--data", data);
  expect([stdout, status]).toEqual(["", 2]);
  expect(stderr).toContain(message);
  expect(stderr.split("\n").filter((line) => line.startsWith("error: "))).toHaveLength(1);
});
