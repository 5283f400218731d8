import { describe, expect, test } from "bun:test";
import { drawFactors } from "../frozen/drawing/factors.ts";
import { finishSteps } from "../frozen/drawing/bases.ts";
import { baseOf, f32, numbers } from "../testing/adapters.ts";
import { foreignFactors, type TestVera, veraTensors, withVera } from "../testing/vera.ts";
import { planVera, VERA_FACTORS } from "./plan.ts";
import { loadFrozen } from "../frozen/origin.ts";
import { refusalOf } from "../../files/testing/folder.ts";
import { MemoryStdCache } from "../testing/drawn-bases.ts";
import { UNREAD } from "../testing/weights.ts";

const SHAPES = { "l.0.q.weight": [12, 8], "l.0.up.weight": [20, 8], "l.0.down.weight": [8, 30], "l.norm.weight": [8] };
const base = baseOf(SHAPES, {});
const VERA: TestVera = { r: 5, modules: { "l.0.q": [12, 8], "l.0.up": [20, 8] } };
const Q = "base_model.model.l.0.q";

describe("where the factors come from", () => {
  test("PEFT's way, at the most inputs and outputs of all that the targets match, on the base's grid", async () => {
    const config = { target_modules: ["q", "up", "down"], projection_prng_key: -7 };
    await withVera({ ...VERA, config }, (adapter) => {
      const { origin, notes, extent } = planVera(adapter, baseOf(SHAPES, {}, "BF16"));
      const drawn = { generator: "torch-mt19937-f32", maxIn: 30, maxOut: 20, dtype: "bf16" };
      expect(origin).toMatchObject({ kind: "drawn", drawn });
      expect(extent).toEqual({ rows: 8, bases: 1, cols: 20 });
      expect(notes).toHaveLength(1);
      expect(notes[0]).toContain('(not "l.0.down"): was it trained on this model?; the bases are drawn large enough');
    });
  });

  test("a file that should hold them and does not is refused, as PEFT refuses it", async () => {
    for (const config of [{ save_projection: true }, { save_projection: null }]) {
      await withVera({ ...VERA, config }, async (adapter) => {
        const refusal = await refusalOf(() => planVera(adapter, base, { generator: "torch-mt19937-f32" }));
        expect(refusal).toMatchObject({ code: "adapter", hint: expect.stringContaining('"save_projection" to false') });
        expect(refusal.message).toContain('"base_model.vera_A" and "base_model.vera_B" are not in ');
      });
    }
  });

  test("the file's own, where it has them", async () => {
    const tensors = { ...veraTensors(VERA), ...foreignFactors(5, 40, 20) };
    await withVera({ ...VERA, tensors }, async (adapter) => {
      const plan = planVera(adapter, base, { generator: "philox-v1" });
      expect(plan.origin).toMatchObject({ kind: "saved", sizes: { maxIn: 40, maxOut: 20 } });
      expect(plan.notes.join()).toContain("--generator is not needed");
      expect(plan).toMatchObject({ bases: "saved", roundsDelta: false });
      const loaded = await loadFrozen(VERA_FACTORS, adapter.file, plan.origin, plan.config, plan.extent);
      expect(loaded.b).toMatchObject({ rows: 8, cols: 5 });
    });
  });

  test("what the file records: a redraw that differs is refused", async () => {
    const spec = { generator: "philox-v1", key: 3n, r: 5, maxIn: 9, maxOut: 22, grid: "f16" } as const;
    const drawn = { generator: spec.generator, dtype: spec.grid, maxIn: 9, maxOut: 22 };
    const print = finishSteps(VERA_FACTORS.print(drawn, spec, new MemoryStdCache()));
    const record = VERA_FACTORS.format(VERA_FACTORS.record(drawn, print, spec));
    const config = { projection_prng_key: 3 };
    const metadata = (changed: object) => ({ randlora_bases: JSON.stringify({ ...record, ...changed }) });
    await withVera({ ...VERA, config, metadata: metadata({}) }, async (adapter) => {
      const { origin, extent, config: own } = planVera(adapter, base);
      expect(origin).toMatchObject({ kind: "drawn", drawn });
      expect(await loadFrozen(VERA_FACTORS, adapter.file, origin, own, extent)).toEqual(
        finishSteps(drawFactors(spec, { in: 8, out: 20 })),
      );
      const usage = expect.objectContaining({
        code: "usage",
        message: expect.stringContaining("philox-v1 drew its bases"),
      });
      expect(() => planVera(adapter, base, { generator: "torch-mt19937-f32" })).toThrow(usage);
    });
    await withVera({ ...VERA, metadata: metadata({}) }, async (adapter) => {
      const { origin, extent, config: own } = planVera(adapter, base);
      await expect(loadFrozen(VERA_FACTORS, adapter.file, origin, own, extent)).rejects.toThrow(
        "are not those that the adapter records",
      );
    });
    for (const [changed, message] of [
      [{ generator: "torch-mt19937-ternary" }, "does not draw VeRA's factors"],
      [{ max_in: 7 }, '"l.0.q" is (12, 8), and the random factors are for at most 22 outputs and 7 inputs'],
      [{ max_out: 0 }, '"bases.max_out" is 0'],
      [{ sha256: { a: "x", b: "y" } }, '"bases.sha256.a"'],
    ] as const) {
      await withVera({ ...VERA, config, metadata: metadata(changed) }, (adapter) => {
        expect(() => planVera(adapter, base)).toThrow(message);
      });
    }
  });

  test("a generator without factors, or a base without a grid, is refused", async () => {
    await withVera(VERA, (adapter) => {
      expect(() => planVera(adapter, base, { generator: "torch-mt19937-ternary" })).toThrow("does not draw VeRA's");
      expect(planVera(adapter, base, { generator: "torch-mt19937-ternary", amongOthers: true }).origin).toMatchObject({
        drawn: { generator: "torch-mt19937-f32" },
      });
      const tensors = new Map(base.tensors);
      tensors.set("l.0.q.weight", { dtype: "F16", shape: [12, 8] });
      tensors.set("l.0.up.weight", { dtype: "BF16", shape: [20, 8] });
      expect(() => planVera(adapter, { ...base, tensors })).toThrow("mixes F16 and BF16");
    });
  });
});

test.each([
  ["half a pair", { "base_model.vera_A": numbers([5, 8]) }, '"base_model.vera_B" is missing'],
  ["factors of another rank", foreignFactors(4, 8, 20), "do not fit r = 5"],
  ["factors that are too small", foreignFactors(5, 8, 19), '"l.0.up" is (20, 8)'],
  ["an unknown tensor", { [`${Q}.vera_lambda_c`]: numbers([5]) }, "vera_lambda_c"],
] as const)("an adapter with %s is refused in one line", async (_, changed, message) => {
  const all = Object.entries({ ...veraTensors(VERA), ...changed });
  const tensors = Object.fromEntries(all.flatMap(([name, tensor]) => (tensor === undefined ? [] : [[name, tensor]])));
  await withVera({ ...VERA, tensors }, (adapter) => {
    const refusal = expect.objectContaining({ message: expect.stringMatching(/^[^\n]*$/) });
    expect(() => planVera(adapter, base)).toThrow(refusal);
    const oneOf = expect.objectContaining({ hint: expect.any(String) });
    expect(() => planVera(adapter, base)).toThrow(oneOf);
    try {
      planVera(adapter, base);
    } catch (thrown) {
      const { message: cause, hint } = thrown as Error & { hint: string };
      expect(`${cause} ${hint}`).toContain(message);
    }
  });
});

test("numbers that are not finite are refused when they are read", async () => {
  const tensors = { ...veraTensors(VERA), [`${Q}.vera_lambda_b`]: f32([12], new Float32Array(12).fill(Infinity)) };
  await withVera({ ...VERA, tensors }, async (adapter) => {
    const source = await planVera(adapter, base).load();
    const sample = { rows: [0], cols: [0] };
    await expect(source.reference(0, 1, sample, UNREAD)).rejects.toThrow('"l.0.q.vera_lambda_b" holds Infinity');
  });
  const nan = {
    ...veraTensors(VERA),
    ...foreignFactors(5, 8, 20),
    "base_model.vera_A": f32([5, 8], new Float32Array(40).fill(NaN)),
  };
  await withVera({ ...VERA, tensors: nan }, async (adapter) => {
    await expect(planVera(adapter, base).load()).rejects.toThrow("vera_A holds NaN or infinity");
  });
});
