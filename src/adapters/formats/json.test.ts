import { describe, expect, test } from "bun:test";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { numbers } from "../testing/adapters.ts";
import { randloraConfig } from "../randlora/config.ts";
import { openJson, writeJson } from "./json.ts";
import { JsonNumber } from "../../files/lossless-json.ts";
import { memoryTensor } from "../files/tensors.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";

const LAMBDA = { dtype: "F32", shape: [1], data: "AACAPw==" };
const VALID = {
  format: "randlora-adapter",
  version: 1,
  peft_type: "RANDLORA",
  r: 4,
  tensors: { "q.randlora_lambda": LAMBDA },
};

async function openText(text: string) {
  await using folder = await TemporaryFolder.create();
  const path = join(folder.path, "adapter.json");
  await writeFile(path, text);
  return await openJson(path);
}

test("a small one", async () => {
  await using adapter = await openText(JSON.stringify({ ...VALID, bases: { generator: "philox-v1" }, extra: [1] }));
  expect(adapter.config).toEqual({ peft_type: "RANDLORA", r: 4, extra: [1] });
  expect(adapter.bases).toEqual({ generator: "philox-v1" });
  expect(await adapter.tensors.get("q.randlora_lambda")?.readAll()).toEqual(new Uint8Array([0, 0, 0x80, 0x3f]));
});

test("names that other writers left with PEFT's prefix, or shortened, are the same names", async () => {
  const tensors = { "base_model.model.q.randlora_lambda": LAMBDA, randlora_A: LAMBDA, "base_model.randlora_B": LAMBDA };
  await using adapter = await openText(JSON.stringify({ ...VALID, tensors }));
  expect([...adapter.tensors.keys()]).toEqual(["q.randlora_lambda", "base_model.randlora_A", "base_model.randlora_B"]);
});

test("what is written is read, bit for bit", async () => {
  await using folder = await TemporaryFolder.create();
  const path = join(folder.path, "adapter.json");
  const tensor = fc.record({
    dtype: fc.constantFrom("F32" as const, "F16" as const, "BF16" as const),
    data: fc.uint8Array({ maxLength: 64 }).map((bytes) => bytes.subarray(0, bytes.length - (bytes.length % 4))),
  });
  const contents = fc.record({
    tensors: fc.dictionary(fc.string({ minLength: 1, maxLength: 12 }), tensor, { maxKeys: 5, noNullPrototype: true }),
    key: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
    note: fc.string(),
  });
  await fc.assert(
    fc.asyncProperty(contents, async ({ tensors, key, note }) => {
      const config = { peft_type: "RANDLORA", projection_prng_key: new JsonNumber(String(key)), note };
      const bases = { generator: "philox-v1", max: new JsonNumber("8.0") };
      const written = Object.entries(tensors).map(([name, { dtype, data }]) =>
        memoryTensor(`m.${name}`, dtype, [data.length / (dtype === "F32" ? 4 : 2)], data),
      );
      await writeJson(path, { config, bases, tensors: written, metadata: new Map([["note", note]]) });
      await using adapter = await openJson(path);
      expect(randloraConfig(adapter)).toMatchObject({ key });
      expect(adapter.config["note"]).toBe(note);
      expect(adapter.bases).toEqual(bases);
      expect([...adapter.metadata]).toEqual([["note", note]]);
      expect(adapter.tensors.size).toBe(written.length);
      for (const { name, dtype, shape, readAll } of written) {
        const read = adapter.tensors.get(name);
        expect(read).toMatchObject({ dtype, shape });
        expect(await read?.readAll()).toEqual(await readAll());
      }
    }),
    { numRuns: 40 },
  );
});

test("a tensor of several megabytes crosses the borders of its pieces whole", async () => {
  await using folder = await TemporaryFolder.create();
  const path = join(folder.path, "adapter.json");
  const { data, shape } = numbers([1000, 1001]);
  const config = { peft_type: "RANDLORA" };
  const tensors = [memoryTensor("big", "F32", shape, data)];
  await writeJson(path, { config, bases: undefined, tensors, metadata: new Map() });
  await using adapter = await openJson(path);
  expect(Buffer.compare((await adapter.tensors.get("big")?.readAll()) ?? new Uint8Array(), data)).toBe(0);
});

describe("refused, naming the file and the cause", () => {
  const tensor = (value: unknown) => ({ ...VALID, tensors: { a: value } });
  const refusals: readonly (readonly [text: string, message: string])[] = [
    ["", "adapter.json: not JSON"],
    ["[]", "not a JSON object"],
    [JSON.stringify({ ...VALID, format: "lora" }), '"format" is not "randlora-adapter"'],
    [JSON.stringify({ ...VALID, version: 2 }), '"version" is 2; only 1 is known'],
    [JSON.stringify({ ...VALID, version: "1" }), '"version" is not a number; only 1 is known'],
    [JSON.stringify({ ...VALID, peft_type: "VBLORA" }), 'peft_type "VBLORA" cannot be applied'],
    [JSON.stringify({ ...VALID, r: 0 }), '"r" is 0'],
    [JSON.stringify({ ...VALID, tensors: undefined }), '"tensors" is missing'],
    [JSON.stringify({ ...VALID, bases: [] }), '"bases" is not an object'],
    [JSON.stringify({ ...VALID, metadata: { a: 1 } }), 'metadata "a" is not a string'],
    [JSON.stringify(tensor(1)), 'tensor "a": not an object'],
    [JSON.stringify(tensor({ ...LAMBDA, dtype: "F64" })), 'tensor "a": dtype "F64"'],
    [JSON.stringify(tensor({ ...LAMBDA, dtype: "constructor" })), 'tensor "a": dtype "constructor"'],
    [JSON.stringify(tensor({ ...LAMBDA, shape: [-1] })), 'tensor "a": shape is not'],
    [JSON.stringify(tensor({ ...LAMBDA, shape: [2] })), 'tensor "a": F32 of shape [2] takes 8 bytes, but data has 4'],
    [JSON.stringify(tensor({ ...LAMBDA, shape: [2 ** 40, 2 ** 40] })), "takes Infinity bytes"],
    [JSON.stringify(tensor({ ...LAMBDA, data: "AACAPw=" })), 'tensor "a": data is not base64'],
    [JSON.stringify(tensor({ ...LAMBDA, data: "AAC*Pw==" })), 'tensor "a": data is not base64'],
    [JSON.stringify(tensor({ ...LAMBDA, data: undefined })), 'tensor "a": data is missing'],
    [JSON.stringify(tensor({ ...LAMBDA, scale: 1 })), 'tensor "a": unknown key "scale"'],
    ['{"format":"randlora-adapter","version":1,"tensors":{"a":{},"a":{}}}', 'it names "tensors" / "a" twice'],
  ];
  for (const [text, message] of refusals) {
    test(message, async () => {
      await expect(openText(text)).rejects.toThrow(expect.objectContaining({ name: "RandloraError" }));
      await expect(openText(text)).rejects.toThrow(message);
    });
  }
});

test("a damaged file is read or refused, never more", async () => {
  await using folder = await TemporaryFolder.create();
  const path = join(folder.path, "adapter.json");
  const valid = new TextEncoder().encode(JSON.stringify({ ...VALID, bases: { generator: "philox-v1" } }));
  const damage = fc.array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { minLength: 1, maxLength: 3 });
  await fc.assert(
    fc.asyncProperty(damage, fc.nat(valid.length), async (changes, length) => {
      const bytes = new Uint8Array(valid);
      for (const [at, value] of changes) bytes[at] = value;
      await writeFile(path, length % 4 === 0 ? bytes.subarray(0, length) : bytes);
      try {
        await using adapter = await openJson(path);
        expect(adapter.format).toBe("json");
      } catch (thrown) {
        expect(thrown).toHaveProperty("name", "RandloraError");
        expect(thrown).toHaveProperty("message", expect.stringMatching(/^[^\n]*adapter\.json[^\n]*$/));
      }
    }),
    { numRuns: 300 },
  );
});

test("what adapter.json cannot hold is not written", async () => {
  await using folder = await TemporaryFolder.create();
  const path = join(folder.path, "adapter.json");
  const content = {
    config: { peft_type: "RANDLORA" },
    bases: undefined,
    tensors: [],
    metadata: new Map<string, string>(),
  };
  const integers = [memoryTensor("ids", "I64", [1], new Uint8Array(8))];
  await expect(writeJson(path, { ...content, tensors: integers })).rejects.toThrow('tensor "ids" is I64');
  const config = { peft_type: "RANDLORA", tensors: 3 };
  await expect(writeJson(path, { ...content, config })).rejects.toThrow('a key "tensors"');
});
