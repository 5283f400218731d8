import { describe, expect, test } from "bun:test";
import { mkdir, readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import { f32, safetensorsBytes } from "../src/adapters/adapters.fixture.ts";
import {
  ADAPTER,
  baseAndAdapter,
  contents,
  LAMBDA_NAME,
  Q_NAME,
  runMerge,
  TENSORS,
} from "../src/merge/testing-process.ts";
import { adapterTensors, weights, writeAdapter, writeModel } from "../src/merge/testing.ts";
import { fileBytes, type TemporaryFolder, tensorEntry } from "../src/safetensors/testing.ts";

/** Something wrong with the files: what is done to them, and what the one line must then say. */
interface Bad {
  readonly name: string;
  readonly spoil: (folder: TemporaryFolder) => Promise<unknown>;
  /** Parts of the error: the file, the tensor, the cause. */
  readonly says: readonly string[];
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

const BASE = "base/model.safetensors";
const CONFIG = "adapter/adapter_config.json";
const WEIGHTS = "adapter/adapter_model.safetensors";

/** Replaces the base by a file with this header and some bytes of data. */
const header =
  (value: unknown, dataBytes = 8) =>
  (folder: TemporaryFolder): Promise<void> =>
    writeFile(folder.at(BASE), fileBytes(value, new Uint8Array(dataBytes)));

/** Writes the adapter again with other settings or tensors. */
const adapter =
  (extra: Parameters<typeof writeAdapter>[2], own = ADAPTER) =>
  (folder: TemporaryFolder): Promise<unknown> =>
    writeAdapter(folder.at("adapter"), own, extra);

/** Writes the base again with other tensors. */
const base =
  (tensors: Parameters<typeof writeModel>[1]["tensors"]) =>
  (folder: TemporaryFolder): Promise<unknown> =>
    writeModel(folder.at("base"), { tensors: { ...TENSORS, ...tensors } });

const nothing = async (): Promise<void> => {};
const [MODULE = ""] = Object.keys(ADAPTER.modules);
const lambdaWith = (value: number) => f32([4, 4], [value, ...Array.from({ length: 15 }, () => 0.1)]);

const FILES: readonly Bad[] = [
  {
    name: "a truncated file",
    spoil: (folder) => truncate(folder.at(BASE), 1500),
    says: [BASE, '"model.', "lie outside"],
  },
  { name: "a file cut inside its header", spoil: (folder) => truncate(folder.at(BASE), 100), says: [BASE, "header"] },
  { name: "an empty file", spoil: (folder) => truncate(folder.at(BASE), 0), says: [BASE] },
  {
    name: "a header longer than the file",
    spoil: (folder) => writeFile(folder.at(BASE), Uint8Array.of(0, 0, 1, 0, 0, 0, 0, 0, 123)),
    says: [BASE, "65536"],
  },
  { name: "garbage instead of JSON", spoil: header('{"a": nonsense'), says: [BASE, "not JSON"] },
  {
    name: "overlapping offsets",
    spoil: header({ a: tensorEntry("U8", [5], 0, 5), b: tensorEntry("U8", [4], 4, 8) }),
    says: [BASE, '"b"', "overlap"],
  },
  {
    name: "offsets shorter than the shape",
    spoil: header({ a: tensorEntry("F32", [3], 0, 8) }),
    says: [BASE, '"a"', "takes 12 bytes"],
  },
  {
    name: "a hole between offsets",
    spoil: header({ a: tensorEntry("U8", [2], 0, 2), b: tensorEntry("U8", [4], 4, 8) }),
    says: [BASE, '"b"'],
  },
  { name: "an unknown dtype", spoil: header({ a: tensorEntry("F7", [8], 0, 8) }), says: [BASE, '"a"', '"F7"'] },
  {
    name: "a missing shard",
    spoil: async (folder) => {
      await rm(folder.at("base"), { recursive: true });
      await writeModel(folder.at("base"), { tensors: TENSORS, shardBytes: 1300 });
      await rm(folder.at("base/model-00002-of-00004.safetensors"));
    },
    says: ["base/model.safetensors.index.json", "model-00002-of-00004.safetensors", "missing"],
  },
  {
    name: "an index that leaves the folder",
    spoil: (folder) =>
      writeFile(folder.at("base/model.safetensors.index.json"), '{"weight_map": {"a": "../other.safetensors"}}'),
    says: ["base/model.safetensors.index.json", "../other.safetensors"],
  },
  {
    name: "pickled weights alone",
    spoil: (folder) => rename(folder.at(BASE), folder.at("base/pytorch_model.bin")),
    says: ["base", "pytorch_model.bin", "pickled"],
  },
  {
    name: "a config.json that is none",
    spoil: (folder) => writeFile(folder.at("base/config.json"), "[]"),
    says: ["base/config.json", "not a JSON object"],
  },
  { name: "no config.json", spoil: (folder) => rm(folder.at("base/config.json")), says: ["base/config.json"] },
  {
    name: "no base",
    spoil: (folder) => rm(folder.at("base"), { recursive: true }),
    says: ["base", "no such file or folder"],
  },
  {
    name: "no adapter",
    spoil: (folder) => rm(folder.at("adapter"), { recursive: true }),
    says: ["adapter", "no such file or folder"],
  },
];

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
    says: [WEIGHTS, `"${MODULE}.randlora_gamma"`, "[5, 20]", "[16, 16]"],
  },
  {
    name: "an unknown peft_type",
    spoil: adapter({ config: { peft_type: "LOHA" } }),
    says: [CONFIG, 'peft_type "LOHA"'],
  },
  { name: "no peft_type", spoil: (folder) => writeFile(folder.at(CONFIG), "{}"), says: [CONFIG, '"peft_type"'] },
  { name: "r = 0", spoil: adapter({ config: { r: 0 } }), says: [CONFIG, '"r"', "positive"] },
  { name: "r = 2.5", spoil: adapter({ config: { r: 2.5 } }), says: [CONFIG, '"r"'] },
  { name: "r of another adapter", spoil: adapter({ config: { r: 8 } }), says: [WEIGHTS, "randlora_lambda", "r is 8"] },
  { name: "garbage settings", spoil: (folder) => writeFile(folder.at(CONFIG), '{"r": '), says: [CONFIG, "JSON"] },
  {
    name: "NaN in λ",
    spoil: adapter({ tensors: { [LAMBDA_NAME]: lambdaWith(Number.NaN) } }),
    says: [WEIGHTS, `"${MODULE}.randlora_lambda"`, "NaN"],
  },
  {
    name: "NaN in a saved module",
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

const NUMBERS: readonly Bad[] = [
  {
    name: "NaN in an adapted weight",
    spoil: base({ [Q_NAME]: { ...TENSORS[Q_NAME], data: TENSORS[Q_NAME].data.slice().fill(0xff, 0, 2) } }),
    says: [BASE, `"${Q_NAME}"`, "1 of its weights are NaN or infinite"],
  },
  {
    name: "ΔW that overflows F16",
    spoil: async (folder) => {
      await base({ [Q_NAME]: weights("F16", [16, 16], 2) })(folder);
      await adapter({ config: { randlora_alpha: 1e9 } }, { ...ADAPTER, modules: { [MODULE]: [16, 16] } })(folder);
    },
    says: [BASE, `"${Q_NAME}"`, "too large for F16"],
  },
  {
    name: "an untouched weight that overflows --dtype f16",
    spoil: base({ "model.norm.weight": weights("F32", [16], 4, 1e6) }),
    args: ["--dtype", "f16"],
    says: [BASE, '"model.norm.weight"', "too large for F16"],
  },
  {
    name: "an F64 weight without --dtype",
    spoil: base({ [Q_NAME]: weights("F64", [16, 16], 2) }),
    says: ["base", `"${Q_NAME}"`, "F64"],
  },
  {
    name: "an unmerge of an adapter that replaces a module",
    spoil: adapter({
      config: { modules_to_save: ["norm"] },
      tensors: { "base_model.model.model.norm.weight": weights("F32", [16], 5) },
    }),
    args: ["--unmerge", "--quiet"],
    says: [WEIGHTS, '"model.norm.weight"'],
  },
];

const PLACES: readonly Bad[] = [
  {
    name: "an output below a file",
    spoil: (folder) => writeFile(folder.at("file"), ""),
    args: ["--out", "file/out"],
    says: ["file/out", "not a folder"],
  },
  { name: "an output that is the input", spoil: nothing, args: ["--out", "base", "--force"], says: ["base", "input"] },
  {
    name: "an output that is the adapter",
    spoil: nothing,
    args: ["--out", "adapter", "--force"],
    says: ["adapter", "input"],
  },
  {
    name: "an output that exists",
    spoil: (folder) => mkdir(folder.at("out")),
    says: ["out", "exists already"],
  },
  {
    name: "an output that is a file",
    spoil: (folder) => writeFile(folder.at("out"), "mine"),
    args: ["--force"],
    says: ["out", "not a folder"],
  },
  {
    name: "no GPU driver",
    spoil: nothing,
    env: { VK_DRIVER_FILES: "/nonexistent", VK_ICD_FILENAMES: "/nonexistent" },
    says: ["no GPU and no software GPU was found"],
  },
  {
    name: "a GPU that does not exist",
    spoil: nothing,
    args: ["--gpu", "abacus"],
    says: ["--gpu abacus", "no such GPU"],
  },
];

describe.each([
  ["a model's file", FILES],
  ["an adapter", ADAPTERS],
  ["numbers", NUMBERS],
  ["the surroundings", PLACES],
] as const)("what is wrong with %s", (_, cases) => {
  test.each(cases.map((one) => [one.name, one] as const))(
    "%s: one line says it, a second what to do, and nothing is left",
    async (_, { spoil, args = [], env = {}, says }) => {
      await using folder = await baseAndAdapter();
      await spoil(folder);
      const before = await contents(folder.path);
      const given = args.includes("--out") ? args : ["--out", "out", ...args];
      const run = await runMerge(["base", "adapter", ...given, "--quiet"], { cwd: folder.path, env });
      const lines = run.stderr.trimEnd().split("\n");
      expect(lines).toEqual([expect.stringMatching(/^error: /), expect.stringMatching(/^hint: ./)]);
      for (const part of says) expect(lines[0]).toContain(part);
      expect([run.status, run.stdout]).toEqual([1, ""]);
      expect(await contents(folder.path)).toEqual(before);
    },
  );
});

test("a lone file is never its own output, under any name", async () => {
  await using folder = await baseAndAdapter();
  const bytes = await readFile(folder.at(BASE));
  const run = await runMerge([BASE, "adapter", "--out", "adapter/../base/./model.safetensors", "--force"], {
    cwd: folder.path,
  });
  expect([run.status, run.stderr]).toEqual([1, expect.stringContaining("the input is never changed")]);
  expect(await readFile(folder.at(BASE))).toEqual(bytes);
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
