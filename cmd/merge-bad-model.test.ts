import { describe, expect, test } from "bun:test";
import { readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import {
  ADAPTER,
  adapter,
  base,
  baseAndAdapter,
  type Bad,
  expectRefusal,
  FILES,
  Q_NAME,
  runMerge,
  TENSORS,
} from "./testing/merge.ts";
import type { TemporaryFolder } from "../src/files/testing/folder.ts";
import { weights, writeModel } from "../src/adapters/merge/testing/models.ts";
import { fileBytes, tensorEntry } from "../src/files/safetensors/testing/files.ts";

const { base: BASE, weights: WEIGHTS } = FILES;
const [MODULE = ""] = Object.keys(ADAPTER.modules);

/** Replaces the base by a file with this header and some bytes of data. */
const header =
  (value: unknown, dataBytes = 8) =>
  (folder: TemporaryFolder): Promise<void> =>
    writeFile(folder.at(BASE), fileBytes(value, new Uint8Array(dataBytes)));

const MODELS: readonly Bad[] = [
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
    status: 1,
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
  {
    name: "no config.json",
    status: 1,
    spoil: (folder) => rm(folder.at("base/config.json")),
    says: ["base/config.json"],
  },
  {
    name: "no base",
    status: 1,
    spoil: (folder) => rm(folder.at("base"), { recursive: true }),
    says: ["base", "no such file or folder"],
  },
  {
    name: "no adapter",
    status: 1,
    spoil: (folder) => rm(folder.at("adapter"), { recursive: true }),
    says: ["adapter", "no such file or folder"],
  },
];

const NUMBERS: readonly Bad[] = [
  {
    name: "NaN in an adapted weight",
    status: 1,
    spoil: base({ [Q_NAME]: { ...TENSORS[Q_NAME], data: TENSORS[Q_NAME].data.slice().fill(0xff, 0, 2) } }),
    says: [BASE, `"${Q_NAME}"`, "1 of its weights are NaN or infinite"],
  },
  {
    name: "ΔW that overflows F16",
    status: 1,
    spoil: async (folder) => {
      await base({ [Q_NAME]: weights("F16", [16, 16], 2) })(folder);
      await adapter({ config: { randlora_alpha: 1e9 } }, { ...ADAPTER, modules: { [MODULE]: [16, 16] } })(folder);
    },
    says: [BASE, `"${Q_NAME}"`, "too large for F16"],
  },
  {
    name: "an untouched weight that overflows --dtype f16",
    status: 1,
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

describe.each([
  ["a model's files", MODELS],
  ["its numbers", NUMBERS],
] as const)("what is wrong with %s is said in one line, and nothing is left", (_, cases) => {
  test.each(cases.map((one) => [one.name, one] as const))("%s", (_, one) => expectRefusal(one));
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
