// Methods compared on images, as users type it.
import { describe, expect, test } from "bun:test";
import { readFile } from "node:fs/promises";
import { ImageFolder } from "./testing/image-data.ts";
import { randlora } from "./testing/images.ts";

const place = await ImageFolder.forTests();
const at = place.at.bind(place);

async function compare(...args: readonly string[]) {
  const { stdout, stderr, status } = await randlora("compare", ...args, "--json", "-q");
  expect([stderr, status]).toEqual(["", 0]);
  return JSON.parse(stdout);
}

/** What decides the same in a comparison and in a run of its own. */
const COMMON = ["--targets", "q_proj,v_proj", "--batch-size", "6", "--steps", "4", "--learning-rate", "2e-2"] as const;

/** metrics.jsonl without the clock. */
async function metricsOf(run: string): Promise<unknown[]> {
  const lines = (await readFile(at(run, "metrics.jsonl"), "utf8")).trimEnd().split("\n");
  return lines.map((line) => {
    const { seconds: _seconds, time: _time, ...rest } = JSON.parse(line);
    return rest;
  });
}

describe("with trained heads", () => {
  // Images, their parts and the head are drawn by each run's own seed.
  const DATA = ["--shots", "5", "--augment", "crop-flip"] as const;
  const asked = () => [at("dinov2"), "--data", at("data"), ...COMMON, ...DATA];

  test("runs are finetune's; accuracy is told, and a head's numbers are not counted", async () => {
    const methods = ["--methods", "lora,randlora,full", "--params", "200", "--seeds", "1"];
    const begun = await compare(...asked(), ...methods, "--out", at("both"));
    const { results } = await compare("--resume", at("both"), "--seeds", "2");
    expect(results.slice(0, 3)).toEqual(begun.results);
    expect(results).toHaveLength(6);
    for (const { method, seed, accuracy, parameters, valid_loss: loss } of results) {
      const metrics = await metricsOf(`both/runs/${method}-seed-${seed}`);
      expect(metrics.at(-1)).toEqual({ step: 4, valid_loss: loss, valid_accuracy: accuracy });
      // LoRA of rank 3: two matrices (8, 8) in two layers.
      if (method === "lora") expect(parameters).toBe(4 * 3 * 16);
    }
    const own = ["--method", "lora", "--rank", "3", "--seed", "1"];
    const { stdout } = await randlora("finetune", ...asked(), ...own, "--out", at("own"), "--json", "-q");
    expect(await metricsOf("own")).toEqual(await metricsOf("both/runs/lora-seed-1"));
    // Three classes, read of the class token and of the mean of patches, with a bias.
    expect(JSON.parse(stdout).trainable_parameters).toBe(4 * 3 * 16 + 3 * 17);
    const shown = await randlora("compare", "--resume", at("both"), "-q");
    expect(shown.stdout).toMatch(/\nmethod .* validation +accuracy /);
    expect(shown.stdout).toMatch(/\nlora +rank 3 +0\.02 +192 +−4\.0 % .* \d+\.\d\d ± \d+\.\d\d % /);
    const page = await readFile(at("both", "README.md"), "utf8");
    expect(page).toMatch(/\n\| method .*\| accuracy \|/);
    const next = /^randlora (eval images) runs\/(lora-seed-0) (--data) (\S+) +# measure one$/m.exec(page)?.slice(1);
    expect(next).toEqual(["eval images", "lora-seed-0", "--data", at("data")]);
  });
});

test("a method that diverges has no accuracy either, though it was measured before", async () => {
  const common = ["--targets", "q_proj", "--batch-size", "6", "--steps", "3", "--seeds", "1", "--out", at("diverged")];
  const args = ["--methods", "lora,randlora", "--params", "100", "--learning-rate", "lora=1e30"];
  const run = ["compare", at("dinov2"), "--data", at("data"), ...common, ...args, "--json"];
  const { results } = JSON.parse((await randlora(...run)).stdout);
  expect((await metricsOf("diverged/runs/lora-seed-0"))[0]).toMatchObject({
    step: 0,
    valid_accuracy: expect.any(Number),
  });
  expect(results).toMatchObject([
    { method: "lora", valid_loss: null, accuracy: null, error: expect.any(String) },
    { method: "randlora", accuracy: expect.any(Number), error: null },
  ]);
});

describe("with the texts of classes", () => {
  test("sizes are those of the part that is adapted", async () => {
    const args = [at("clip"), "--data", at("data"), ...COMMON, "--methods", "lora", "--like", "lora:2", "--seeds", "1"];
    // q and v, (16, 16) in two layers of images, (8, 8) in one of texts.
    const images = await compare(...args, "--out", at("images"));
    expect(images).toMatchObject({ budgets: [4 * 2 * 32], results: [{ parameters: 4 * 2 * 32 }] });
    const both = await compare(...args, "--task", "contrastive", "--out", at("contrastive"));
    const numbers = 4 * 2 * 32 + 2 * 2 * 16;
    expect(both).toMatchObject({ budgets: [numbers], results: [{ parameters: numbers }] });
  });
});

test.each([
  ["what texts have", ["--packing"], "--packing has no meaning with a model of images"],
  [
    "a head that reads no texts",
    ["--head", "cls", "--templates", "openai"],
    "--templates has no meaning with --head cls",
  ],
  ["a head without its encoder", ["--head", "zero-shot"], "no encoder of texts"],
  ["forgetting", ["--forgetting", "64"], "--forgetting 64: a model of images draws no texts"],
  ["data without images", ["--data", import.meta.dir], "no train split"],
])("refused: %s", async (_, args, message) => {
  const where = args.includes("--data") ? [] : ["--data", at("data")];
  const all = [at("dinov2"), ...where, "--targets", "q_proj", "--methods", "lora", ...args, "--out", at("none")];
  const { stdout, stderr, status } = await randlora("compare", ...all);
  expect([stdout, status === 0]).toEqual(["", false]);
  expect(stderr).toContain(message);
  expect(stderr.split("\n").filter((line) => line.startsWith("error: "))).toHaveLength(1);
});
