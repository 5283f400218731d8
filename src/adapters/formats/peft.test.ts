import { describe, expect, test } from "bun:test";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { f32, numbers, parameters, safetensorsBytes, writeFolder } from "../testing/adapters.ts";
import { JsonNumber } from "../../files/lossless-json.ts";
import { randloraConfig } from "../randlora/config.ts";
import { openPeft } from "./peft.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";

const CONFIG = { peft_type: "RANDLORA", r: 4, target_modules: ["q"] };
const MODULES = { "model.layers.0.q": 8, "model.layers.1.q": 8 };

async function open<T>(
  setUp: (folder: string) => Promise<unknown>,
  use: (path: string) => Promise<T> | T = (path) => path as T,
): Promise<T> {
  await using temporary = await TemporaryFolder.create();
  const folder = join(temporary.path, "adapter");
  await mkdir(folder);
  await setUp(folder);
  return await use(folder);
}

describe("layouts", () => {
  const a = numbers([4, 1, 8], 7);
  const b = numbers([8, 2, 4], 8);
  const pair = { "base_model.randlora_A": a, "base_model.randlora_B": b };
  const copies = Object.fromEntries(
    Object.keys(MODULES).flatMap((module) => [
      [`base_model.model.${module}.randlora_A`, a],
      [`base_model.model.${module}.randlora_B`, b],
    ]),
  );
  const bare = { randlora_A: a, randlora_B: b };
  const own = Object.keys(parameters(4, MODULES, ""));
  const PAIR = ["base_model.randlora_A", "base_model.randlora_B"];

  const layouts = [
    { name: "no bases", tensors: parameters(4, MODULES), expected: own },
    { name: "the pair", tensors: { ...pair, ...parameters(4, MODULES) }, expected: [...PAIR, ...own] },
    {
      name: "copies and the pair",
      tensors: { ...copies, ...parameters(4, MODULES), ...pair },
      expected: [...own, ...PAIR],
    },
    { name: "copies alone", tensors: { ...copies, ...parameters(4, MODULES) }, expected: [...PAIR, ...own] },
    { name: "no prefix", tensors: { ...bare, ...parameters(4, MODULES, "") }, expected: [...PAIR, ...own] },
  ];
  for (const { name, tensors, expected } of layouts) {
    test(name, async () => {
      await open(
        (folder) => writeFolder(folder, CONFIG, tensors),
        async (path) => {
          await using adapter = await openPeft(path);
          expect([...adapter.tensors.keys()]).toEqual(expected);
          const read = await adapter.tensors.get("base_model.randlora_B")?.readAll();
          expect(read ?? b.data).toEqual(new Uint8Array(b.data));
        },
      );
    });
  }

  test("either file stands for the folder", async () => {
    await open(
      (folder) => writeFolder(folder, CONFIG, parameters(4, MODULES)),
      async (folder) => {
        for (const file of ["adapter_config.json", "adapter_model.safetensors"]) {
          await using adapter = await openPeft(join(folder, file));
          expect(adapter.tensors.size).toBe(4);
        }
      },
    );
  });

  test("an adapter saved under a name lies one level deeper; two must be told apart", async () => {
    await open(
      (folder) => writeFolder(join(folder, "mine"), CONFIG, parameters(4, MODULES)),
      async (folder) => {
        await using adapter = await openPeft(folder);
        expect(adapter.configFile).toBe(join(folder, "mine", "adapter_config.json"));
        await writeFolder(join(folder, "other"), CONFIG, parameters(4, MODULES));
        await expect(openPeft(folder)).rejects.toThrow("2 adapters: mine, other");
      },
    );
  });
});

test("every key, tensor byte and piece of metadata is there", async () => {
  const key = new JsonNumber("18446744073709551615");
  const config = { ...CONFIG, projection_prng_key: key, future: { a: [1, null] } };
  const bases = '{"generator":"philox-v1","new":1}';
  const metadata = { format: "pt", randlora_bases: bases, note: "kept" };
  await open(
    (folder) => writeFolder(folder, config, parameters(4, MODULES), metadata),
    async (folder) => {
      await using adapter = await openPeft(folder);
      expect(adapter.config).toEqual(config);
      expect(randloraConfig(adapter)).toMatchObject({ key: 2n ** 64n - 1n });
      expect(adapter.bases).toEqual({ generator: "philox-v1", new: 1 });
      expect([...adapter.metadata]).toEqual([["note", "kept"]]);
      const gamma = adapter.tensors.get("model.layers.1.q.randlora_gamma");
      const part = new Uint8Array(8);
      await gamma?.read(part, 4);
      expect(part).toEqual(new Uint8Array(numbers([2, 8], 4).data.subarray(4, 12)));
    },
  );
});

describe("refused, naming the file and the cause", () => {
  const valid = (folder: string) => writeFolder(folder, CONFIG, parameters(4, MODULES));
  const half = {
    "base_model.model.a.randlora_A": numbers([4, 1, 8]),
    "base_model.model.b.randlora_A": numbers([4, 1, 9]),
  };
  const twice = { ...parameters(4, { q: 8 }), ...parameters(4, { q: 8 }, "") };
  const refusals: readonly (readonly [name: string, setUp: (folder: string) => Promise<unknown>, message: string])[] = [
    ["an empty folder", async () => {}, "adapter: no adapter_config.json"],
    [
      "a run before its first save",
      async (folder) => writeFile(join(folder, "run.json"), "{}"),
      "adapter: a run that has saved no adapter",
    ],
    [
      "weights missing",
      async (folder) => rm(join(await valid(folder), "adapter_model.safetensors")),
      "adapter_model.safetensors: no such file",
    ],
    [
      "pickled weights",
      async (folder) =>
        rename(join(await valid(folder), "adapter_model.safetensors"), join(folder, "adapter_model.bin")),
      "adapter_model.bin holds pickled weights",
    ],
    [
      "a truncated file",
      async (folder) =>
        writeFile(
          join(await valid(folder), "adapter_model.safetensors"),
          safetensorsBytes({ a: f32([4], [1, 2, 3, 4]) }).subarray(0, -3),
        ),
      "adapter_model.safetensors: tensor",
    ],
    [
      "a configuration that is no JSON",
      async (folder) => writeFile(join(await valid(folder), "adapter_config.json"), '{"r": 4'),
      "adapter_config.json: not JSON",
    ],
    [
      "a configuration that is a list",
      async (folder) => writeFile(join(await valid(folder), "adapter_config.json"), "[]"),
      "adapter_config.json: not a JSON object",
    ],
    [
      "a configuration that is no text",
      async (folder) => writeFile(join(await valid(folder), "adapter_config.json"), new Uint8Array([0x7b, 0xff])),
      "adapter_config.json: not UTF-8",
    ],
    [
      "a key that is there twice",
      async (folder) => writeFile(join(await valid(folder), "adapter_config.json"), '{"r": 4, "r": 5}'),
      'adapter_config.json: it names "r" twice',
    ],
    ["no peft_type", (folder) => writeFolder(folder, { r: 4 }, {}), '"peft_type" is missing'],
    [
      "an unknown peft_type",
      (folder) => writeFolder(folder, { peft_type: "MAGIC" }, {}),
      'peft_type "MAGIC" cannot be applied',
    ],
    [
      "a peft_type from Object",
      (folder) => writeFolder(folder, { peft_type: "constructor" }, {}),
      'peft_type "constructor"',
    ],
    ["r = 0", (folder) => writeFolder(folder, { ...CONFIG, r: 0 }, {}), 'adapter_config.json: "r" is 0'],
    ["copies of different shapes", (folder) => writeFolder(folder, CONFIG, half), "F32 [4, 1, 9] and F32 [4, 1, 8]"],
    [
      "a name with and without prefix",
      (folder) => writeFolder(folder, CONFIG, twice),
      '"q.randlora_lambda" is there with and',
    ],
    [
      "bases that are no JSON",
      (folder) => writeFolder(folder, CONFIG, parameters(4, MODULES), { randlora_bases: "{" }),
      'metadata "randlora_bases": not JSON',
    ],
    [
      "bases that nest without end",
      (folder) => writeFolder(folder, CONFIG, parameters(4, MODULES), { randlora_bases: `{"a":${"[".repeat(1000)}` }),
      'metadata "randlora_bases": its arrays and objects are nested more than',
    ],
  ];
  for (const [name, setUp, message] of refusals) {
    test(name, async () => {
      await open(setUp, async (folder) => {
        await expect(openPeft(folder)).rejects.toThrow(expect.objectContaining({ name: "RandloraError" }));
        await expect(openPeft(folder)).rejects.toThrow(message);
      });
    });
  }
});
