import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cp } from "node:fs/promises";
import { basename, join } from "node:path";
import * as v from "valibot";
import { openSamples } from "../src/measure/analyze/samples.ts";
import { placesOf, sharesAt } from "../src/measure/analyze/plane/plane.ts";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { judge } from "./judge.ts";
import { randlora, ROOT } from "./program.ts";

const TIMEOUT = 300_000;
const BATCH = 5;
const GRID = 3;
const RANGE = [-0.5, 1, 0, 1.5] as const;
const SHOWN = {
  cat: ["rgb.png", "420.jpg", "turned-6.jpg", "palette.png", "turned-2.png"],
  owl: ["grey.png", "411.jpg", "422.jpg"],
  tabby: ["rgba.png", "lossy-alpha.webp", "lossless.webp", "444.jpg", "interlaced.gif", "grey-16-bits.png"],
} as const;
/** Not the order of the folders, and more of them. */
const CLASSES = ["tabby", "dog", "cat", "owl"];

const Found = v.object({
  cka: v.array(v.object({ full: v.array(v.number()), minibatch: v.array(v.number()) })),
  plane: v.array(v.number()),
});
const Told = v.object({ clip: Found, dinov2: Found });
const Cka = v.object({ layers: v.array(v.object({ name: v.string(), cka: v.record(v.string(), v.number()) })) });
const Plane = v.object({
  loss: v.array(v.array(v.number())),
  corners: v.object({ A: v.number(), B: v.number(), C: v.number() }),
  samples: v.number(),
});

const folder = await TemporaryFolder.create();
const data = folder.at("data");
let told: v.InferOutput<typeof Told>;
beforeAll(async () => {
  for (const [label, names] of Object.entries(SHOWN)) {
    for (const name of names) await cp(join(ROOT, "fixtures/images", name), join(data, "test", label, name));
  }
  const set = await openSamples({ data });
  const images: [string, string][] = [];
  for (const [index, label] of set.labels.entries()) {
    const { name } = await set.source(index);
    images.push([join(data, "test", set.classes[label] ?? "", basename(name)), set.classes[label] ?? ""]);
  }
  const [x, y] = [placesOf([RANGE[0], RANGE[1]], GRID), placesOf([RANGE[2], RANGE[3]], GRID)];
  const points = [[1, 0, 0], [0, 1, 0], [0, 0, 1], ...y.flatMap((down) => x.map((across) => sharesAt(across, down)))];
  const asked = JSON.stringify({ images, classes: CLASSES, points, batch: BATCH });
  const output = await (await judge()).script("image_analyses.py", folder.path, asked);
  told = v.parse(Told, JSON.parse(output.trim().split("\n").at(-1) ?? ""));
}, TIMEOUT);
afterAll(async () => {
  await folder[Symbol.asyncDispose]();
});

describe.each(["clip", "dinov2"] as const)("%s", (name) => {
  const variant = (which: string) => folder.at(`${name}/${which}`);
  const [base, full, lora, adapted] = [variant("base"), variant("full"), variant("lora"), variant("randlora")];

  test.each(["full", "minibatch"] as const)(
    "CKA of class tokens, estimated by %s, is numpy's from transformers' activations",
    async (estimator) => {
      const flags = ["--reference", full, "--adapter", lora, "--adapter", adapted, "--data", data];
      const size = estimator === "minibatch" ? ["--batch-size", String(BATCH)] : [];
      const args = [base, ...flags, "--estimator", estimator, ...size];
      const { layers } = v.parse(Cka, JSON.parse(await randlora(["analyze", "cka", ...args, "--json"])));
      const wanted = told[name].cka;
      expect(layers).toHaveLength(wanted.length);
      for (const [at, layer] of layers.entries()) {
        for (const [which, adapter] of [lora, adapted].entries()) {
          const theirs = wanted[at]?.[estimator][which] ?? NaN;
          expect(Math.abs((layer.cka[adapter] ?? NaN) - theirs), layer.name).toBeLessThan(1e-3);
        }
      }
      expect(Math.min(...layers.flatMap(({ cka }) => Object.values(cka)))).toBeLessThan(0.99);
    },
    TIMEOUT,
  );

  test(
    "losses in a plane are PyTorch's",
    async () => {
      const at = [adapted, full, lora].flatMap((corner) => ["--at", corner]);
      const args = [base, ...at, "--data", data, "--grid", String(GRID), "--range", RANGE.join(",")];
      const report = v.parse(Plane, JSON.parse(await randlora(["analyze", "plane", ...args, "--json"])));
      const { loss, corners, samples } = report;
      expect(samples).toBe(Object.values(SHOWN).flat().length);
      const found = [corners.A, corners.B, corners.C, ...loss.flat()];
      const wanted = told[name].plane;
      expect(found).toHaveLength(wanted.length);
      for (const [point, value] of wanted.entries()) {
        expect(Math.abs((found[point] ?? NaN) - value) / value, `point ${point}`).toBeLessThan(1e-4);
      }
    },
    TIMEOUT,
  );
});
