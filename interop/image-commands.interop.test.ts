import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import * as v from "valibot";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { judge } from "./judge.ts";
import { randlora, ROOT } from "./program.ts";

const LABELS = ["cat", "tabby", "owl"];
const IMAGES = ["rgb.png", "turned-6.jpg", "420.jpg", "lossy-alpha.webp", "grey.png"].map((name) =>
  join(ROOT, "fixtures/images", name),
);
const WITHIN = 1e-4;

const Rows = v.array(v.array(v.number()));
const Told = v.object({ clip: Rows, text: Rows, dinov2: Rows, zero_shot: Rows, trained: Rows });
const Embedded = v.object({ embeddings: Rows });
const Classified = v.object({
  images: v.array(
    v.object({ path: v.string(), classes: v.array(v.object({ name: v.string(), probability: v.number() })) }),
  ),
});

const folder = await TemporaryFolder.create();
let told: v.InferOutput<typeof Told>;
beforeAll(async () => {
  const output = await (await judge()).script("image_commands.py", folder.path, LABELS.join(","), ...IMAGES);
  told = v.parse(Told, JSON.parse(output.trim().split("\n").at(-1) ?? ""));
});
afterAll(async () => {
  await folder[Symbol.asyncDispose]();
});

function expectRows(found: number[][], wanted: number[][]): void {
  expect(found.map(({ length }) => length)).toEqual(wanted.map(({ length }) => length));
  const all = wanted.flat();
  const largest = all.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const worst = found.flat().reduce((most, value, at) => Math.max(most, Math.abs(value - (all[at] ?? NaN))), 0);
  expect(worst).toBeLessThan(WITHIN * largest);
}

async function embed(...args: string[]): Promise<number[][]> {
  return v.parse(Embedded, JSON.parse(await randlora(["embed", ...args, "--json"]))).embeddings;
}

/** Probabilities of each image in the order of the labels. */
async function classify(...args: string[]): Promise<number[][]> {
  const { images } = v.parse(Classified, JSON.parse(await randlora(["classify", ...args, ...IMAGES, "--json"])));
  expect(images.map(({ path }) => path)).toEqual(IMAGES);
  return images.map(({ classes }) =>
    LABELS.map((label) => classes.find(({ name }) => name === label)?.probability ?? NaN),
  );
}

describe("commands about images say what Python's say of the same files", () => {
  test("embed: transformers' get_image_features, get_text_features, and DINOv2's class token", async () => {
    expectRows(await embed(folder.at("clip"), ...IMAGES), told.clip);
    expectRows(await embed(folder.at("clip"), "-p", LABELS[0] ?? ""), told.text);
    expectRows(await embed(folder.at("dinov2"), ...IMAGES), told.dinov2);
  });

  test("classify with labels: transformers' softmax of logits_per_image", async () => {
    expectRows(await classify(folder.at("clip"), "--labels", LABELS.join(",")), told.zero_shot);
  });

  test("classify with an adapter of PEFT's that brings a head", async () => {
    expectRows(await classify(folder.at("dinov2"), "--adapter", folder.at("adapter")), told.trained);
  });
});
