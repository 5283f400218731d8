import { describe, expect, test } from "bun:test";
import { baseOf, numbers, parameters } from "../testing/adapters.ts";
import { MemoryStdCache } from "../testing/drawn-bases.ts";
import { fingerprint } from "../frozen/drawing/draw.ts";
import { loadFrozen } from "../frozen/origin.ts";
import { RANDLORA_BASES } from "./bases.ts";
import { BASE, base, MODULES, plan, withAdapter } from "../testing/randlora.ts";
import type { Adapter } from "../files/adapter.ts";
import { planRandlora } from "./plan.ts";

/** As the adapter says. */
const CONFIG = { key: 0n, r: 3, sparsity: "sparse" } as const;

describe("where the bases come from", () => {
  test("sparse ones are drawn at the largest shape of all that the targets match, on the base's grid", async () => {
    const config = { target_modules: ["q", "up", "down"], projection_prng_key: -7 };
    await withAdapter({ config }, (adapter) => {
      const { origin, notes } = plan(adapter, baseOf(BASE, undefined, "BF16"));
      expect(origin).toMatchObject({
        kind: "drawn",
        drawn: { generator: "torch-mt19937-ternary", max: 12, min: 12, dtype: "bf16" },
      });
      expect(notes.join()).toContain(
        '(not "model.layers.0.down"): was it trained on this model?; the bases are drawn large',
      );
    });
  });

  test("one 16-bit layer among f32 ones is enough", async () => {
    const tensors = new Map(base.tensors);
    tensors.set("model.layers.0.up.weight", { dtype: "F16", shape: [12, 8] });
    await withAdapter({}, (adapter) => {
      expect(plan(adapter, { ...base, tensors }).origin).toMatchObject({ drawn: { dtype: "f16", max: 12, min: 8 } });
    });
  });

  test("dense ones that nothing explains are refused, with the choices", async () => {
    await withAdapter({ config: { sparse: false } }, (adapter) => {
      const hint = expect.stringContaining("--generator torch-mt19937-bf16-v2");
      expect(() => plan(adapter)).toThrow(expect.objectContaining({ code: "file", hint }));
      expect(plan(adapter, base, "torch-mt19937-bf16-v1").origin).toMatchObject({
        drawn: { generator: "torch-mt19937-bf16-v1", max: 12, min: 8, dtype: "f32" },
      });
    });
  });

  test("a generator that cannot draw them is refused when the plan is made", async () => {
    await withAdapter({ config: { sparse: false } }, (adapter) => {
      const message = expect.stringContaining("its bases are dense, and torch-mt19937-ternary does not draw such");
      expect(() => plan(adapter, base, "torch-mt19937-ternary")).toThrow(expect.objectContaining({ message }));
    });
    await withAdapter({}, (adapter) => {
      const hint = expect.stringContaining("torch-mt19937-ternary");
      expect(() => plan(adapter, base, "torch-mt19937-f32")).toThrow(
        expect.objectContaining({ code: "adapter", hint }),
      );
    });
  });

  test("saved ones are used, whatever else is said", async () => {
    const pair = { "base_model.randlora_A": numbers([3, 1, 8]), "base_model.randlora_B": numbers([12, 3, 3], 1) };
    await withAdapter({ tensors: { ...parameters(3, MODULES), ...pair } }, async (adapter) => {
      const { origin, extent, notes } = plan(adapter, base, "philox-v1");
      expect(origin).toMatchObject({ kind: "saved", sizes: { max: 12, min: 8 } });
      expect(notes.join()).toContain("--generator is not needed");
      expect((await loadFrozen(RANDLORA_BASES, adapter.file, origin, CONFIG, extent)).extent).toEqual(extent);
    });
  });

  test("among several adapters --generator is for those that do not say and that it can draw", async () => {
    const among = (adapter: Adapter) =>
      planRandlora(adapter, base, { generator: "torch-mt19937-bf16-v1", amongOthers: true });
    const pair = { "base_model.randlora_A": numbers([3, 1, 8]), "base_model.randlora_B": numbers([12, 3, 3], 1) };
    await withAdapter({ config: { sparse: true } }, (adapter) => {
      expect(among(adapter).origin).toMatchObject({ drawn: { generator: "torch-mt19937-ternary" } });
    });
    await withAdapter({ config: { sparse: false } }, (adapter) => {
      expect(among(adapter).origin).toMatchObject({ drawn: { generator: "torch-mt19937-bf16-v1" } });
    });
    await withAdapter({ tensors: { ...parameters(3, MODULES), ...pair } }, (adapter) => {
      expect(among(adapter).notes).toEqual([]);
    });
  });

  const spec = { generator: "philox-v1", key: 0n, r: 3, max: 16, min: 10, sparsity: "sparse", grid: "f32" } as const;
  const record = {
    generator: spec.generator,
    pairing: "paper",
    max: spec.max,
    min: spec.min,
    dtype: spec.grid,
    stdA: undefined,
    stdB: undefined,
    sha256: fingerprint(spec).sha256,
  } as const;
  const metadata = { randlora_bases: JSON.stringify(RANDLORA_BASES.format(record)) };
  const PAPER = { peft_type: "RANDLORA_PAPER" };

  test("recorded ones are drawn as recorded, and a --generator that contradicts is a usage error", async () => {
    await withAdapter({ config: PAPER, metadata }, async (adapter) => {
      const { origin, pairing, extent } = plan(adapter);
      expect(origin).toMatchObject({
        kind: "drawn",
        drawn: { generator: "philox-v1", max: 16, min: 10, dtype: "f32" },
      });
      expect(pairing).toBe("paper");
      expect(
        (await loadFrozen(RANDLORA_BASES, adapter.file, origin, CONFIG, extent, { cache: new MemoryStdCache() })).a
          .storage.kind,
      ).toBe("philox");
      expect(() => plan(adapter, base, "torch-mt19937-ternary")).toThrow(expect.objectContaining({ code: "usage" }));
    });
  });

  test("a record of a generator that cannot draw them is refused when the plan is made", async () => {
    await withAdapter(
      {
        metadata: {
          randlora_bases: JSON.stringify({ ...RANDLORA_BASES.format(record), generator: "torch-mt19937-f32" }),
        },
      },
      (adapter) => {
        const message = expect.stringMatching(
          /adapter_model\.safetensors: its bases are sparse, and torch-mt19937-f32/,
        );
        expect(() => plan(adapter)).toThrow(expect.objectContaining({ code: "adapter", message }));
      },
    );
  });

  test("a redraw that differs from the record is refused", async () => {
    await withAdapter({ metadata, config: { ...PAPER, projection_prng_key: 1 } }, async (adapter) => {
      const { origin, config, extent } = plan(adapter);
      const load = loadFrozen(RANDLORA_BASES, adapter.file, origin, config, extent, { cache: new MemoryStdCache() });
      await expect(load).rejects.toThrow("the bases that philox-v1 draws are not those that the adapter records");
    });
  });

  test("recorded standard deviations that are wrong are noticed, too", async () => {
    const ternary = { ...spec, generator: "torch-mt19937-ternary" } as const;
    const { sha256, stdB } = fingerprint(ternary, new MemoryStdCache());
    const wrong = {
      ...record,
      generator: ternary.generator,
      pairing: "peft",
      sha256,
      stdA: 0.5,
      stdB: stdB ?? 1,
    } as const;
    const bases = JSON.stringify(RANDLORA_BASES.format(wrong));
    await withAdapter({ metadata: { randlora_bases: bases } }, async (adapter) => {
      const { origin, extent } = plan(adapter);
      await expect(
        loadFrozen(RANDLORA_BASES, adapter.file, origin, CONFIG, extent, { cache: new MemoryStdCache() }),
      ).rejects.toThrow("are not those");
    });
  });
});
