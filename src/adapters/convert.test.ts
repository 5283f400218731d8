import { describe, expect, test } from "bun:test";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { GENERATOR_NAMES, type GeneratorName } from "../random/names.ts";
import { f32, numbers, parameters, TemporaryFolder, type TestTensor, writeFolder } from "./adapters.fixture.ts";
import { convertAdapter, type Conversion, type ConvertOptions } from "./convert.ts";
import { type JsonObject, JsonNumber } from "./lossless-json.ts";
import { openAdapter } from "./open.ts";
import { MemoryStdCache } from "./randlora/bases.fixture.ts";
import type { BasesSpec } from "./randlora/bases.ts";
import { drawPairTensors } from "./randlora/projection-tensors.ts";

const KEY = 2n ** 53n + 7n;
const CONFIG = {
  peft_type: "RANDLORA",
  r: 5,
  randlora_alpha: new JsonNumber("100.0"),
  projection_prng_key: new JsonNumber(String(KEY)),
  target_modules: ["q", "up"],
  save_projection: true,
  from_the_future: { x: new JsonNumber("1e-05") },
};
const OWN = parameters(5, { "model.layers.0.q": 12, "model.layers.0.up": 12 });
const cache = new MemoryStdCache();

/** The pair that a generator draws, as PEFT saves it, with the copies of one layer. B has 6000 elements: more than a fingerprint covers. */
async function drawnPair(spec: Partial<BasesSpec> & { generator: GeneratorName }): Promise<Record<string, TestTensor>> {
  const full: BasesSpec = { key: KEY, r: 5, max: 400, min: 12, sparsity: "dense", grid: "f32", ...spec };
  const { a, b } = drawPairTensors(full, cache);
  const [A, B] = await Promise.all(
    [a, b].map(async (one) => ({ dtype: "F32" as const, shape: one.shape, data: await one.readAll() })),
  );
  if (A === undefined || B === undefined) throw new Error("no pair");
  const layer = "base_model.model.model.layers.0.q";
  return {
    [`${layer}.randlora_A`]: A,
    [`${layer}.randlora_B`]: B,
    "base_model.randlora_A": A,
    "base_model.randlora_B": B,
  };
}

async function convert(
  from: string,
  options: Omit<ConvertOptions, "projections" | "cache"> & { projections?: boolean },
): Promise<Conversion> {
  await using adapter = await openAdapter(from);
  return await convertAdapter(adapter, { projections: undefined, cache, ...options });
}

/** Everything that an adapter says, in a form that can be compared. */
async function everything(path: string) {
  await using adapter = await openAdapter(path);
  const { config, bases, metadata } = adapter;
  const tensors: Record<string, unknown> = {};
  for (const [name, { dtype, shape, readAll }] of adapter.tensors) {
    tensors[name] = { dtype, shape: [...shape], data: Buffer.from(await readAll()).toString("hex") };
  }
  return { config, bases, metadata: [...metadata], tensors };
}

async function roundTrip(
  config: JsonObject,
  tensors: Readonly<Record<string, TestTensor>>,
  metadata?: Readonly<Record<string, string>>,
) {
  await using temporary = await TemporaryFolder.create();
  const at = (name: string) => join(temporary.path, name);
  await writeFolder(at("peft0"), config, tensors, metadata);
  const first = await convert(at("peft0"), { to: "json", out: at("1.json") });
  await convert(at("1.json"), { to: "peft", out: at("peft1") });
  await convert(at("peft1"), { to: "json", out: at("2.json") });
  await convert(at("2.json"), { to: "peft", out: at("peft2") });
  // Nothing drifts: the second way round gives the same bytes.
  for (const [one, two] of [
    ["1.json", "2.json"],
    ["peft1/adapter_model.safetensors", "peft2/adapter_model.safetensors"],
    ["peft1/adapter_config.json", "peft2/adapter_config.json"],
  ] as const) {
    expect(Buffer.compare(await readFile(at(one)), await readFile(at(two)))).toBe(0);
  }
  return {
    first,
    original: await everything(at("peft0")),
    json: await everything(at("1.json")),
    peft: await everything(at("peft1")),
  };
}

describe("bases that a known generator draws are recorded, not stored", () => {
  for (const generator of GENERATOR_NAMES) {
    const sparse = generator === "torch-mt19937-ternary";
    test(generator, async () => {
      const config = sparse ? { ...CONFIG, very_sparse: true } : CONFIG;
      const pair = await drawnPair({ generator, sparsity: sparse ? "very-sparse" : "dense" });
      const { first, original, json, peft } = await roundTrip(config, { ...OWN, ...pair });
      expect(first).toMatchObject({ generator, projections: false, notes: [] });
      expect(json.bases).toMatchObject({ generator, pairing: "peft", max: 400, min: 12 });
      expect(Object.keys(json.tensors)).toEqual(
        Object.keys(original.tensors).filter((name) => !/randlora_[AB]$/.test(name)),
      );
      // Drawn again, bit for bit; and nothing else has changed on the way.
      expect(peft).toEqual({ ...original, bases: json.bases });
      expect(json.config).toEqual(original.config);
    });
  }

  test("on the grid that the base's dtype left them on", async () => {
    for (const [generator, grid] of [
      ["torch-mt19937-f32", "f16"],
      ["torch-mt19937-f16-v1", "bf16"],
      ["torch-mt19937-ternary", "bf16"],
    ] as const) {
      const sparsity = generator === "torch-mt19937-ternary" ? "sparse" : "dense";
      const pair = await drawnPair({ generator, grid, sparsity });
      const { json } = await roundTrip({ ...CONFIG, sparse: sparsity === "sparse" }, { ...OWN, ...pair });
      expect(json.bases).toMatchObject({ generator, dtype: grid });
    }
  });
});

describe("bases that nothing draws", () => {
  const pair = async () => {
    const drawn = await drawnPair({ generator: "torch-mt19937-bf16-v2" });
    const { data = new Uint8Array(), shape = [] } = drawn["base_model.randlora_B"] ?? {};
    // One bit, far behind what a fingerprint covers.
    const changed = new Uint8Array(data);
    changed[changed.length - 2] = (changed.at(-2) ?? 0) ^ 1;
    const B = { dtype: "F32" as const, shape, data: changed };
    return { "base_model.randlora_A": drawn["base_model.randlora_A"] ?? B, "base_model.randlora_B": B };
  };

  test("are kept, whichever way", async () => {
    const { first, original, json, peft } = await roundTrip(CONFIG, { ...(await pair()), ...OWN });
    expect(first).toMatchObject({ generator: undefined, projections: true });
    expect(json).toEqual(original);
    expect(peft).toEqual(original);
  });

  test("cannot be left out", async () => {
    await using folder = await TemporaryFolder.create();
    const from = await writeFolder(join(folder.path, "a"), CONFIG, { ...(await pair()), ...OWN });
    for (const to of ["json", "peft"] as const) {
      const conversion = convert(from, { to, out: join(folder.path, "out"), projections: false });
      await expect(conversion).rejects.toThrow("leaving them out would lose them");
    }
    expect(await readdir(folder.path)).toEqual(["a"]);
  });
});

test("an adapter that does not say what drew its bases stays as it is, and that is said", async () => {
  const { first, original, json, peft } = await roundTrip({ ...CONFIG, save_projection: false }, OWN);
  expect(first.notes.join()).toContain("does not say what drew its bases");
  expect(json).toEqual(original);
  expect(peft).toEqual(original);
});

test("any λ, γ, bias and saved module comes back bit for bit, NaN and all", async () => {
  const tensor = fc
    .record({
      dtype: fc.constantFrom("F32" as const, "F16" as const, "BF16" as const),
      data: fc.uint8Array({ minLength: 60, maxLength: 60 }),
    })
    .map(({ dtype, data }) => ({ dtype, shape: dtype === "F32" ? [5, 3] : [5, 6], data }));
  await fc.assert(
    fc.asyncProperty(tensor, tensor, tensor, async (lambda, gamma, head) => {
      const layer = "base_model.model.h.q";
      const tensors = {
        [`${layer}.randlora_lambda`]: lambda,
        [`${layer}.randlora_gamma`]: gamma,
        "base_model.model.head.weight": head,
      };
      const { original, json, peft } = await roundTrip(
        { ...CONFIG, save_projection: false, modules_to_save: ["head"] },
        tensors,
        { format: "pt", note: "kept" },
      );
      expect(json).toEqual(original);
      expect(peft).toEqual(original);
    }),
    { numRuns: 12, seed: 4 },
  );
});

describe("--projections", () => {
  const setUp = async (folder: string, generator: GeneratorName) =>
    writeFolder(join(folder, "a"), CONFIG, { ...OWN, ...(await drawnPair({ generator })) });

  test("no leaves them out of a PEFT folder, which then says so to PEFT", async () => {
    await using folder = await TemporaryFolder.create();
    const from = await setUp(folder.path, "torch-mt19937-bf16-v2");
    const out = join(folder.path, "out");
    expect(await convert(from, { to: "peft", out, projections: false })).toMatchObject({
      projections: false,
      tensors: 4,
    });
    const { config, bases } = await everything(out);
    expect(config["save_projection"]).toBe(false);
    expect(bases).toMatchObject({ generator: "torch-mt19937-bf16-v2" });
  });

  test("no is refused where PEFT would draw others", async () => {
    await using folder = await TemporaryFolder.create();
    const from = await setUp(folder.path, "philox-v1");
    const conversion = convert(from, { to: "peft", out: join(folder.path, "out"), projections: false });
    await expect(conversion).rejects.toThrow("PEFT cannot draw its bases (philox-v1)");
  });

  test("yes puts them into an adapter.json", async () => {
    await using folder = await TemporaryFolder.create();
    const from = await setUp(folder.path, "philox-v1");
    const out = join(folder.path, "out.json");
    expect(await convert(from, { to: "json", out, projections: true })).toMatchObject({
      projections: true,
      tensors: 6,
    });
  });

  test("yes is refused where nothing says how to draw them", async () => {
    await using folder = await TemporaryFolder.create();
    const from = await writeFolder(join(folder.path, "a"), CONFIG, OWN);
    const conversion = convert(from, { to: "peft", out: join(folder.path, "out"), projections: true });
    await expect(conversion).rejects.toThrow("neither holds its bases nor records which generator drew them");
  });
});

test("bases that are not those that the file records are refused", async () => {
  await using folder = await TemporaryFolder.create();
  const drawn = await drawnPair({ generator: "torch-mt19937-bf16-v2" });
  const from = await writeFolder(join(folder.path, "a"), CONFIG, { ...OWN, ...drawn });
  await convert(from, { to: "peft", out: join(folder.path, "b") });
  const { bases } = await everything(join(folder.path, "b"));
  const other = { ...drawn, ...(await drawnPair({ generator: "torch-mt19937-bf16-v1" })) };
  await writeFolder(join(folder.path, "c"), CONFIG, { ...OWN, ...other }, { randlora_bases: JSON.stringify(bases) });
  const conversion = convert(join(folder.path, "c"), { to: "json", out: join(folder.path, "c.json") });
  await expect(conversion).rejects.toThrow("the bases that it holds are not those that it records");
});

describe("the output", () => {
  test("is replaced only when that is asked for, and never is the input", async () => {
    await using folder = await TemporaryFolder.create();
    const from = await writeFolder(join(folder.path, "a"), CONFIG, OWN);
    const out = join(folder.path, "out.json");
    await convert(from, { to: "json", out });
    await expect(convert(from, { to: "json", out })).rejects.toThrow("it exists already");
    await convert(from, { to: "json", out, force: true });
    await expect(convert(from, { to: "peft", out: from, force: true })).rejects.toThrow("holds the input");
    await expect(convert(out, { to: "json", out, force: true })).rejects.toThrow("it is the input");
    await expect(convert(from, { to: "json", out: join(out, "below") })).rejects.toThrow(
      expect.objectContaining({ code: "file" }),
    );
    expect((await readdir(folder.path)).toSorted()).toEqual(["a", "out.json"]);
  });

  test("a failure leaves nothing behind", async () => {
    await using folder = await TemporaryFolder.create();
    const ids = { dtype: "I64" as const, shape: [1], data: new Uint8Array(8) };
    const from = await writeFolder(join(folder.path, "a"), CONFIG, { ...OWN, "base_model.model.position_ids": ids });
    const conversion = convert(from, { to: "json", out: join(folder.path, "deep", "out.json") });
    await expect(conversion).rejects.toThrow('tensor "position_ids" is I64');
    expect(await readdir(folder.path)).toEqual(["a"]);
  });

  test("a PEFT folder keeps its model card; a new one gets one", async () => {
    await using folder = await TemporaryFolder.create();
    const config = { ...CONFIG, base_model_name_or_path: "org/base" };
    const from = await writeFolder(join(folder.path, "a"), config, {
      ...OWN,
      "base_model.model.head.weight": numbers([2]),
    });
    await writeFile(join(from, "README.md"), "mine");
    await convert(from, { to: "peft", out: join(folder.path, "b") });
    expect(await readFile(join(folder.path, "b", "README.md"), "utf8")).toBe("mine");
    await convert(from, { to: "json", out: join(folder.path, "c.json") });
    await convert(join(folder.path, "c.json"), { to: "peft", out: join(folder.path, "d") });
    expect(await readFile(join(folder.path, "d", "README.md"), "utf8")).toContain("base_model: org/base\n");
  });
});

test("PEFT's names and the plain metadata are written", async () => {
  await using folder = await TemporaryFolder.create();
  const plain = parameters(5, { q: 12 }, "");
  const from = await writeFolder(
    join(folder.path, "a"),
    CONFIG,
    { randlora_A: f32([5, 1, 12], new Float32Array(60)), randlora_B: f32([12, 3, 5], new Float32Array(180)), ...plain },
    {},
  );
  await convert(from, { to: "peft", out: join(folder.path, "b") });
  const header = (await readFile(join(folder.path, "b", "adapter_model.safetensors"))).subarray(8).toString("latin1");
  const { __metadata__, ...tensors } = JSON.parse(header.slice(0, header.indexOf("}}") + 2)) as Record<string, unknown>;
  expect(__metadata__).toEqual({ format: "pt" });
  expect(Object.keys(tensors)).toEqual([
    "base_model.randlora_A",
    "base_model.randlora_B",
    "base_model.model.q.randlora_lambda",
    "base_model.model.q.randlora_gamma",
  ]);
});
