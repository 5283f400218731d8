// Which pairing of bases ΔW is made with follows the `peft_type`; what files record of it confirms that.
import { expect, test } from "bun:test";
import { itemAt } from "../../files/item-at.ts";
import { refusalOf } from "../../files/testing/folder.ts";
import type { Adapter } from "../files/adapter.ts";
import { numbers, parameters, type TestTensor } from "../testing/adapters.ts";
import { base, plan, withAdapter } from "../testing/randlora.ts";
import { UNREAD } from "../testing/weights.ts";
import { convertRandlora, randlora } from "./method.ts";

const [R, N, M] = [3, 3, 8];
const MODULES = { "model.layers.0.q": M };
const SAVED: Readonly<Record<string, TestTensor>> = {
  ...parameters(R, MODULES),
  "base_model.randlora_A": numbers([R, 1, M], 1),
  "base_model.randlora_B": numbers([M, N, R], 2),
};
const CONFIG = { target_modules: ["q"], randlora_alpha: 6 };
const given = (peft_type: string, metadata?: Readonly<Record<string, string>>) => ({
  config: { ...CONFIG, peft_type },
  tensors: SAVED,
  ...(metadata && { metadata }),
});
const record = (pairing: string) => ({
  randlora_bases: JSON.stringify({
    generator: "torch-mt19937-ternary",
    pairing,
    max: M,
    min: M,
    dtype: "f32",
    sha256: { a: "0".repeat(64), b: "0".repeat(64) },
  }),
});

/** ΔW of the one module as the plan has it. */
async function deltaOf(adapter: Adapter): Promise<Float64Array> {
  const every = Array.from({ length: M }, (_, at) => at);
  const source = await randlora.plan(adapter, base, {}).load();
  return await source.reference(0, 1, { rows: every, cols: every }, UNREAD);
}

const values = (name: string): Float32Array => {
  const tensor = SAVED[name];
  if (tensor === undefined) throw new Error(name);
  return new Float32Array(tensor.data.slice().buffer);
};

/** Equation 4 of arXiv:2502.00987, term by term; in PEFT's pairing column q of B̂ meets row q of Ŝ, (k, j) ↦ k·n + j. */
function expected(pairing: "peft" | "paper"): number[] {
  const q = "base_model.model.model.layers.0.q";
  const [lambda, gamma] = [values(`${q}.randlora_lambda`), values(`${q}.randlora_gamma`)];
  const [a, b] = [values("base_model.randlora_A"), values("base_model.randlora_B")];
  return Array.from({ length: M * M }, (_, at) => {
    const [o, c] = [Math.floor(at / M), at % M];
    let sum = 0;
    for (let j = 0; j < N; j++) {
      for (let k = 0; k < R; k++) {
        const left = itemAt(b, o * N * R + (pairing === "paper" ? j * R + k : k * N + j));
        sum += left * itemAt(lambda, k * N + j) * itemAt(a, k * M + c) * itemAt(gamma, j * M + c);
      }
    }
    return (6 / R) * sum;
  });
}

test.each([
  ["RANDLORA", "peft"],
  ["RANDLORA_PAPER", "paper"],
] as const)("ΔW of %s is in the pairing %s, whether its file records that or not", async (type, pairing) => {
  const other = pairing === "paper" ? "peft" : "paper";
  expect(expected(pairing)).not.toEqual(expected(other));
  await withAdapter(given(type), async (adapter) => {
    const found = await deltaOf(adapter);
    expected(pairing).forEach((value, at) => expect(found[at]).toBeCloseTo(value, 12));
  });
  await withAdapter(given(type, record(pairing)), (adapter) => expect(plan(adapter).pairing).toBe(pairing));
});

test("RandLoRA with magnitudes has the pairing that is recorded", async () => {
  for (const pairing of ["peft", "paper"] as const) {
    await withAdapter(given("RANDLORA_DORA", record(pairing)), (adapter) => {
      expect(plan(adapter).pairing).toBe(pairing);
    });
  }
});

test.each([
  [
    "RANDLORA_DORA",
    undefined,
    'peft_type "RANDLORA_DORA" has either pairing of bases, and the file does not record which',
  ],
  ["RANDLORA", "paper", 'its peft_type "RANDLORA" means the pairing "peft", but its bases are recorded with "paper"'],
  [
    "RANDLORA_PAPER",
    "peft",
    'its peft_type "RANDLORA_PAPER" means the pairing "paper", but its bases are recorded with "peft"',
  ],
] as const)("%s with %j recorded is refused", async (type, recorded, says) => {
  await withAdapter(given(type, recorded && record(recorded)), async (adapter) => {
    for (const work of [() => plan(adapter), () => convertRandlora(adapter, { to: "json", projections: undefined })]) {
      const refusal = await refusalOf(work);
      expect([refusal.code, refusal.message]).toEqual(["adapter", expect.stringContaining(says)]);
      expect(refusal.hint).not.toBe("");
    }
  });
});
