import { describe, expect, test } from "bun:test";
import { readFile } from "node:fs/promises";
import type { JsonObject } from "../../files/lossless-json.ts";
import { refusalOf, TemporaryFolder } from "../../files/testing/folder.ts";
import { planAdapter } from "../methods.ts";
import { openPeft } from "../formats/peft.ts";
import { baseOf, numbers, type TestTensor } from "../testing/adapters.ts";
import { convert, everything } from "../testing/convert.ts";
import { type TestNola, writeNola } from "../testing/nola.ts";

const Q = "model.layers.0.q_proj";
const UP = "model.layers.0.up_proj";
const KEY = 2n ** 63n + 5n;
const NOLA: TestNola = {
  r: 3,
  alpha: 6,
  bases: 5,
  key: KEY,
  initSeed: 2 ** 40,
  modules: { [Q]: [8, 8], [UP]: [12, 8] },
};
const base = baseOf({ [`${Q}.weight`]: [8, 8], [`${UP}.weight`]: [12, 8], "model.norm.weight": [8] });
const A = `base_model.model.${Q}.nola_coefficients_A`;

interface Case {
  readonly config?: JsonObject;
  readonly tensors?: Readonly<Record<string, TestTensor>>;
  readonly bases?: JsonObject | null;
  readonly on?: typeof base;
  readonly generator?: "philox-v1";
}

async function plan({ on = base, generator, ...more }: Case) {
  await using folder = await TemporaryFolder.create();
  await using adapter = await openPeft(await writeNola(folder.at("a"), NOLA, more));
  return planAdapter(adapter, on, { generator });
}

test("layers with their shapes, and what draws them", async () => {
  const made = await plan({
    config: { modules_to_save: ["norm"] },
    tensors: { "base_model.model.model.norm.weight": numbers([8]) },
  });
  expect(made.layers.map(({ module, out, in: input }) => [module, out, input])).toEqual([
    [Q, 8, 8],
    [UP, 12, 8],
  ]);
  expect(made.replacements.map(({ tensor }) => tensor)).toEqual(["model.norm.weight"]);
  expect([made.bases, made.roundsDelta, made.notes]).toEqual(["philox-v1", false, []]);
  expect((await plan({ generator: "philox-v1" })).notes).toEqual([
    expect.stringContaining("--generator has no effect"),
  ]);
});

describe("refused with the reason and a hint", () => {
  const other = { a: "0".repeat(64), b: "0".repeat(64), init: "0".repeat(64) };
  test.each<[string, Case, string, string]>([
    ["no record", { bases: null }, "format", "does not record what its random numbers were drawn by"],
    ["another generator", { bases: { generator: "cuda" } }, "format", '"bases.generator" is "cuda"'],
    ["other numbers", { bases: { sha256: other } }, "adapter", "are not those that the adapter records"],
    ["another seed", { config: { projection_prng_key: 4 } }, "adapter", "are not those that the adapter records"],
    ["another start", { bases: { init_seed: 4 } }, "adapter", "are not those that the adapter records"],
    ["other shapes", { bases: { max_out: 13 } }, "adapter", "are not those that the adapter records"],
    ["another rank", { config: { r: 4 } }, "adapter", "are not those that the adapter records"],
    ["wider factors", { bases: { max_in: 2 ** 20 } }, "adapter", "are not those that the adapter records"],
    ["no bases", { config: { num_bases: 0 } }, "format", '"num_bases" is 0: it must be a positive integer'],
    ["bases beyond all measure", { config: { num_bases: 2 ** 30 } }, "format", '"num_bases" is 1073741824'],
    ["no alpha", { config: { nola_alpha: null } }, "format", '"nola_alpha" is null'],
    ["another shape", { tensors: { [A]: numbers([6]) } }, "adapter", "has shape [6], but [5] follows from"],
    ["a matrix", { tensors: { [A]: numbers([1, 5]) } }, "adapter", "has shape [1, 5], but [5] follows from"],
    ["integers", { tensors: { [A]: { dtype: "I8", shape: [5], data: new Uint8Array(5) } } }, "adapter", "is I8"],
    [
      "half a pair",
      { tensors: { "base_model.model.model.layers.1.q_proj.nola_coefficients_B": numbers([5]) } },
      "format",
      '"model.layers.1.q_proj.nola_coefficients_B" has no nola_coefficients_A beside it',
    ],
    ["a stranger", { tensors: { "base_model.model.model.norm.weight": numbers([8]) } }, "adapter", "belongs to no"],
    ["other targets", { config: { target_modules: ["up_proj"] } }, "adapter", "target_modules does not match"],
    [
      "a larger model",
      { on: baseOf({ [`${Q}.weight`]: [8, 9], [`${UP}.weight`]: [12, 8] }) },
      "adapter",
      "but the factors were drawn for 12 × 8 at most",
    ],
    ["another model", { on: baseOf({ [`${Q}.weight`]: [8, 8] }) }, "adapter", `module "${UP}" is not in base`],
  ])("%s", async (_, given, code, message) => {
    const refusal = await refusalOf(() => plan(given));
    expect([refusal.code, refusal.message]).toEqual([code, expect.stringContaining(message)]);
    expect(refusal.message).not.toContain("\n");
    expect(refusal.hint).not.toBe("");
  });
});

test("PEFT folder → adapter.json → PEFT folder loses nothing; the random factors are never written", async () => {
  await using folder = await TemporaryFolder.create();
  const [json, back] = [folder.at("a.json"), folder.at("back")];
  const from = await writeNola(folder.at("a"), NOLA, { config: { from_the_future: { x: 1 } } });
  const done = await convert(from, { to: "json", out: json });
  expect(done).toMatchObject({ tensors: 4, generator: "philox-v1", projections: false, notes: [] });
  expect(await everything(json)).toEqual(await everything(from));
  await convert(json, { to: "peft", out: back });
  expect(await everything(back)).toEqual(await everything(from));
  expect(await readFile(folder.at("back", "README.md"), "utf8")).toContain("# NoLA adapter");
  expect(await readFile(folder.at("back", "README.md"), "utf8")).toContain("PEFT, which has no such adapters, cannot");
  const refusal = await refusalOf(() => convert(from, { to: "peft", out: folder.at("c"), projections: true }));
  expect([refusal.code, refusal.message]).toEqual(["usage", expect.stringContaining("never stored")]);
});
