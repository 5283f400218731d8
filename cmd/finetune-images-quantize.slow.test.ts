// `finetune --quantize` on images: what is said of it, and what becomes of its adapters.
import { beforeAll, expect, test } from "bun:test";
import { writeWiderDinov2 } from "../src/models/vision/testing/folder.ts";
import { LORA, ImageFolder } from "./testing/image-data.ts";
import { randlora } from "./testing/images.ts";

const IN_Q4 = /frozen layers +[\d.]+ kB in Q4_0 \([\d.]+ kB as stored\)/;

const place = await ImageFolder.forTests();
const at = place.at.bind(place);
beforeAll(async () => {
  await writeWiderDinov2(at("wide-dinov2"));
});

test("the bytes are told before and after, the estimate holds, and run.json has the format", async () => {
  const model = "wide-dinov2";
  const args = [...LORA, "--steps", "2", "--learning-rate", "1e-2"];
  const plain = await place.train(`${model}-plain`, model, ...args);
  const { json, run } = await place.train(`${model}-q4`, model, ...args, "--quantize", "q4");
  expect(run.quantize).toBe("q4");
  const { format, bytes, stored_bytes: stored } = json.quantized;
  expect([format, bytes / stored]).toEqual(["Q4_0", expect.closeTo(18 / 128, 9)]);
  expect(json.peak_gpu_bytes).toBeLessThanOrEqual(json.estimated_gpu_bytes);
  expect(json.estimated_gpu_bytes).toBeLessThan(plain.json.estimated_gpu_bytes);
  expect(json.loss).not.toBe(plain.json.loss);
  const dry = await place.finetune(model, ...args, "--quantize", "q4", "--dry-run", "--json");
  const plan = JSON.parse(dry.stdout);
  expect(plan.quantized).toEqual(json.quantized);
  expect(plan.estimated_gpu_bytes).toBe(json.estimated_gpu_bytes);
  const shown = await place.finetune(model, ...args, "--quantize", "q4", "--dry-run");
  expect(shown.stdout).toMatch(IN_Q4);
});

test("what was trained beside blocks is merged into the weights as stored, and that is said", async () => {
  await place.train("run", "wide-dinov2", ...LORA, "--steps", "2", "--quantize", "q8");
  const said = `${at("run")}: trained beside weights in q8 (--quantize), and merged into the weights as stored`;
  for (const words of [
    ["merge", at("wide-dinov2"), at("run"), "--out", at("merged")],
    ["eval", "images", at("run"), "--data", at("data"), "--quantize", "q8"],
  ]) {
    const { stderr, status } = await randlora(...words);
    expect([stderr, status]).toEqual([expect.stringContaining(said), 0]);
  }
});

test("a model without rows of whole blocks trains as it is stored, and that is said", async () => {
  const { stderr, stdout, status } = await place.finetune("dinov2", ...LORA, "--quantize", "q8", "--out", at("small"));
  expect([stderr, status]).toEqual([expect.stringContaining("no layer's rows are whole blocks of 32 numbers"), 0]);
  expect(stdout).not.toContain("frozen layers");
});

test("compare trains a method beside blocks and without", async () => {
  const words = ["compare", at("wide-dinov2"), "--data", at("data"), "--methods", "lora+q4,lora", "--like", "lora:2"];
  const more = ["--targets", "q_proj", "--steps", "1", "--seeds", "1", "--out", at("compared"), "--json", "-q"];
  const { stdout, stderr, status } = await randlora(...words, ...more);
  expect([stderr, status]).toEqual(["", 0]);
  const [first, second] = JSON.parse(stdout).results;
  expect(first.loss).not.toBe(second.loss);
  expect((await Bun.file(at("compared", "runs", "lora+q4-seed-0", "run.json")).json()).quantize).toBe("q4");
});
