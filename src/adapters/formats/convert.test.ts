import { describe, expect, test } from "bun:test";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { GENERATOR_NAMES } from "../../compute/random/names.ts";
import { type TestTensor, writeFolder } from "../testing/adapters.ts";
import { CONFIG, convert, drawnPair, everything, OWN } from "../testing/convert.ts";
import type { JsonObject } from "../../files/lossless-json.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";

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
    for (const [generator, grid, sparsity] of [
      ["torch-mt19937-f32", "f16", "dense"],
      ["torch-mt19937-f16-v1", "bf16", "dense"],
      ["torch-mt19937-ternary", "bf16", "sparse"],
      ["philox-v1", "bf16", "dense"],
      ["philox-v1", "f16", "sparse"],
    ] as const) {
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
    { numRuns: 12 },
  );
});
