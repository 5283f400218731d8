import { beforeAll, expect, test } from "bun:test";
import * as v from "valibot";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { writeAdapter } from "../src/adapters/merge/testing/models.ts";
import { Cka, PlaneOfTexts } from "./testing/analyses.ts";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { randlora } from "./testing/program.ts";

const folder = await TemporaryFolder.forTests();
const data = folder.at("data.jsonl");
beforeAll(async () => {
  const texts = Array.from({ length: 10 }, (_, i) => `Once upon a time there ${"was a cat ".repeat(1 + (i % 4))}${i}.`);
  await Bun.write(data, texts.map((text) => `${JSON.stringify({ text })}\n`).join(""));
  const modules = { "model.layers.0.mlp.up_proj": [172, 64], "model.layers.3.self_attn.q_proj": [64, 64] } as const;
  for (const [seed, name] of ["one", "two", "three"].entries()) {
    await writeAdapter(folder.at(name), { r: 4, alpha: 64, seed, size: 0.1, modules });
  }
});

async function analyze(...args: readonly string[]) {
  return await randlora(["analyze", ...args], { cwd: folder.path });
}

test("CKA of a block that an adapter leaves alone is 1, and of one that it changes is not", async () => {
  const args = ["cka", STORIES, "--reference", STORIES, "--adapter", "one", "--adapter", STORIES, "--data", data];
  const { status, stdout } = await analyze(...args, "--batch-size", "5", "--json", "-q");
  expect(status).toBe(0);
  const { layers, samples, estimator } = v.parse(Cka, JSON.parse(stdout));
  expect([layers.length, samples, estimator]).toEqual([10, 10, "minibatch"]);
  expect(layers[0]).toEqual({ name: "model.layers.0.self_attn.o_proj", cka: { one: 1, [STORIES]: 1 } });
  expect(layers[1]?.cka["one"]).toBeLessThan(0.9999);
  expect(layers.every(({ cka }) => cka[STORIES] === 1)).toBe(true);
  const shown = await analyze(...args, "--estimator", "full", "--svg", "cka.svg", "-q");
  expect(shown.stdout).toContain("model.layers.4.mlp.down_proj");
  expect(shown.stdout).toContain("10 samples, over all of them");
  expect(await Bun.file(folder.at("cka.svg")).text()).toStartWith("<svg ");
  expect((await analyze(...args, "--svg", "cka.svg")).stderr).toContain("cka.svg");
});

test("a plane goes through its corners", async () => {
  const corners = ["--at", "one", "--at", "two", "--at", "three"];
  const args = ["plane", STORIES, ...corners, "--data", data, "--range", "0,2,0,2", "--grid", "4", "--samples", "3"];
  const { status, stdout } = await analyze(...args, "--json", "-q");
  expect(status).toBe(0);
  const { x, y, loss, samples, corners: found } = v.parse(PlaneOfTexts, JSON.parse(stdout));
  expect([x, y, samples]).toEqual([[0, 0.5, 1, 1.5], [0, 0.5, 1, 1.5], 3]);
  expect([loss[0]?.[0], loss[2]?.[1], loss[0]?.[2]]).toEqual([found.A, found.B, found.C]);
  expect(new Set(loss.flat()).size).toBe(16);
  const shown = await analyze(...args, "--svg", "plane.svg", "-q");
  expect(shown.stdout.split("\n")[1]).toMatch(/^A {2}one +\(0, 0\) +\d/);
  const figure = await Bun.file(folder.at("plane.svg")).text();
  expect(figure.match(/<rect /g)).toHaveLength(16);
  expect(figure.match(/stroke-opacity="0.7"/g)).toHaveLength(10);
});

test.each([
  ["no reference", ["cka", STORIES, "--adapter", "one", "--data", "data.jsonl"], 2, "--reference is missing"],
  ["no adapter", ["cka", STORIES, "--reference", "one", "--data", "data.jsonl"], 2, "--adapter is missing"],
  ["no data", ["cka", STORIES, "--reference", "one", "--adapter", "two"], 2, "--data is missing"],
  [
    "the same twice",
    ["cka", STORIES, "--reference", "one", "--adapter", "two", "--adapter", "two", "--data", "data.jsonl"],
    2,
    "two is given twice",
  ],
  [
    "batches of all",
    ["cka", STORIES, "--reference=one", "--adapter=two", "--data=data.jsonl", "--estimator=full", "--batch-size=8"],
    2,
    "--estimator full has no batches",
  ],
  [
    "too few samples",
    ["cka", STORIES, "--reference", "one", "--adapter", "two", "--data", "few.jsonl"],
    3,
    "few.jsonl: 1 sample, but CKA needs 4",
  ],
  ["two corners", ["plane", STORIES, "--at", "one", "--at", "two", "--data", "data.jsonl"], 2, "given 2 times"],
  [
    "no range",
    ["plane", STORIES, "--at=one", "--at=two", "--at=three", "--data=data.jsonl", "--range=0,1,1,1"],
    2,
    "--range 0,1,1,1",
  ],
  [
    "a figure in the place of the points",
    ["plane", STORIES, "--at=one", "--at=two", "--at=three", "--data=data.jsonl", "--out=x", "--svg=./x"],
    2,
    "--out and --svg are one file: ./x",
  ],
  [
    "an adapter that is not there",
    ["plane", STORIES, "--at=one", "--at=two", "--at=four", "--data=data.jsonl"],
    1,
    "four: no such file",
  ],
] as const)("refuses %s", async (_, args, status, message) => {
  await Bun.write(folder.at("few.jsonl"), '{"text":"Once"}\n');
  const found = await analyze(...args);
  expect(found).toMatchObject({ status, stdout: "" });
  expect(found.stderr).toContain(message);
});
