import { describe, expect, test } from "bun:test";
import { mkdir, rename, truncate, writeFile } from "node:fs/promises";
import { f32, safetensorsBytes } from "../src/adapters/testing/adapters.ts";
import {
  ADAPTER,
  adapter,
  baseAndAdapter,
  type Bad,
  contents,
  expectRefusal,
  FILES,
  LAMBDA_NAME,
  runMerge,
} from "./testing/merge.ts";
import { adapterTensors, writeAdapter } from "../src/adapters/merge/testing/models.ts";

const { config: CONFIG, weights: WEIGHTS } = FILES;
const nothing = async (): Promise<void> => {};
const [MODULE = ""] = Object.keys(ADAPTER.modules);
const lambdaWith = (value: number) => f32([4, 4], [value, ...Array.from({ length: 15 }, () => 0.1)]);

const ADAPTERS: readonly Bad[] = [
  {
    name: "a truncated adapter",
    spoil: (folder) => truncate(folder.at(WEIGHTS), 600),
    says: [WEIGHTS, '"base_model.model.', "lie outside"],
  },
  {
    name: "an adapter for another model: a module is missing",
    spoil: (folder) => adapter({}, { ...ADAPTER, modules: { "encoder.block.0.q": [16, 16] } })(folder),
    says: ["adapter", '"encoder.block.0.q"', "base"],
  },
  {
    name: "an adapter for another model: a shape is different",
    spoil: (folder) => adapter({}, { ...ADAPTER, modules: { [MODULE]: [20, 20] } })(folder),
    says: [WEIGHTS, `"${MODULE}.randlora_lambda"`, "[4, 5]", "[16, 16]"],
  },
  {
    name: "an unknown peft_type",
    spoil: adapter({ config: { peft_type: "LOHA" } }),
    says: [CONFIG, 'peft_type "LOHA"'],
  },
  { name: "no peft_type", spoil: (folder) => writeFile(folder.at(CONFIG), "{}"), says: [CONFIG, '"peft_type"'] },
  { name: "r = 0", spoil: adapter({ config: { r: 0 } }), says: [CONFIG, '"r"', "positive"] },
  { name: "r = 2.5", spoil: adapter({ config: { r: 2.5 } }), says: [CONFIG, '"r"'] },
  {
    name: "r of another adapter",
    spoil: adapter({ config: { r: 8 } }),
    says: [WEIGHTS, "randlora_lambda", "[8, 2]", CONFIG],
  },
  { name: "garbage settings", spoil: (folder) => writeFile(folder.at(CONFIG), '{"r": '), says: [CONFIG, "JSON"] },
  {
    name: "NaN in λ",
    status: 1,
    spoil: adapter({ tensors: { [LAMBDA_NAME]: lambdaWith(Number.NaN) } }),
    says: [WEIGHTS, `"${MODULE}.randlora_lambda"`, "NaN"],
  },
  {
    name: "NaN in a saved module",
    status: 1,
    spoil: adapter({
      config: { modules_to_save: ["norm"] },
      tensors: {
        "base_model.model.model.norm.weight": f32([16], [Number.NaN, ...Array.from({ length: 15 }, () => 1)]),
      },
    }),
    says: [WEIGHTS, '"model.norm.weight"', "NaN"],
  },
  {
    name: "dense bases that nothing says how to draw",
    status: 1,
    spoil: adapter({ config: { sparse: false } }),
    says: ["adapter", "generator"],
  },
  {
    name: "bases that differ from those recorded",
    spoil: async (folder) => {
      const record = {
        generator: "torch-mt19937-ternary",
        max: 40,
        min: 16,
        dtype: "bf16",
        sha256: { a: "0".repeat(64), b: "0".repeat(64) },
      };
      await writeAdapter(folder.at("adapter"), ADAPTER);
      const metadata = { format: "pt", randlora_bases: JSON.stringify(record) };
      await writeFile(folder.at(WEIGHTS), safetensorsBytes(adapterTensors(ADAPTER), metadata));
    },
    says: [WEIGHTS, "not those that the adapter records"],
  },
  {
    name: "pickled adapter weights",
    spoil: (folder) => rename(folder.at(WEIGHTS), folder.at("adapter/adapter_model.bin")),
    says: ["adapter", "adapter_model.bin", "pickled"],
  },
];

const PLACES: readonly Bad[] = [
  {
    name: "an output below a file",
    status: 1,
    spoil: (folder) => writeFile(folder.at("file"), ""),
    args: ["--out", "file/out"],
    says: ["file/out", "not a folder"],
  },
  {
    name: "an output that is the input",
    status: 1,
    spoil: nothing,
    args: ["--out", "base", "--force"],
    says: ["base", "input"],
  },
  {
    name: "an output that is the adapter",
    status: 1,
    spoil: nothing,
    args: ["--out", "adapter", "--force"],
    says: ["adapter", "input"],
  },
  {
    name: "an output that exists",
    status: 1,
    spoil: (folder) => mkdir(folder.at("out")),
    says: ["out", "exists already"],
  },
  {
    name: "an output that is a file",
    status: 1,
    spoil: (folder) => writeFile(folder.at("out"), "mine"),
    args: ["--force"],
    says: ["out", "not a folder"],
  },
  {
    name: "a GPU that does not exist",
    status: 1,
    spoil: nothing,
    args: ["--device", "abacus"],
    says: ["--device abacus", "no such GPU"],
  },
];

describe.each([
  ["an adapter", ADAPTERS],
  ["the surroundings", PLACES],
] as const)("what is wrong with %s is said in one line, and nothing is left", (_, cases) => {
  test.each(cases.map((one) => [one.name, one] as const))("%s", (_, one) => expectRefusal(one));
});

test.each([
  [["base"], "ADAPTER"],
  [["base", "adapter", "--dtype", "f8"], "--dtype"],
  [["base", "adapter", "--scale", "inf"], "--scale"],
  [["base", "adapter", "--scale", "1", "--scale", "2"], "--scale"],
  [["base", "adapter", "--max-shard-size", "big"], "--max-shard-size"],
  [["base", "adapter", "--max-shard-size", "0"], "--max-shard-size"],
  [["base", "adapter", "--generator", "dice"], "--generator"],
  [["base", "adapter", "--outt", "x"], "--out"],
] as const)("randlora merge %p is wrong usage: exit 2", async (args, names) => {
  await using folder = await baseAndAdapter();
  const before = await contents(folder.path);
  const { status, stdout, stderr } = await runMerge(args, { cwd: folder.path });
  expect([status, stdout]).toEqual([2, ""]);
  expect(stderr).toMatch(/^error: .*\n(hint: .*\n)?$/);
  expect(stderr).toContain(names);
  expect(await contents(folder.path)).toEqual(before);
});

test("a base below a file is named", async () => {
  await using folder = await baseAndAdapter();
  await writeFile(folder.at("file"), "");
  const { status, stdout, stderr } = await runMerge(["file/base/model", "adapter"], { cwd: folder.path });
  expect([status, stdout]).toEqual([1, ""]);
  expect(stderr).toMatch(/^error: cannot read file\/base\/model: .*not a folder\nhint: .*\n$/);
});
