import { describe, expect, test } from "bun:test";
import { f32 } from "../../testing/adapters.ts";
import { loraDelta, type TestLora, writeLora } from "../../testing/lora.ts";
import { refusalOf, TemporaryFolder } from "../../../files/testing/folder.ts";
import { itemAt } from "../../../files/item-at.ts";
import { keepAtRandom } from "../combine/rows.ts";
import { modelOf, MODULES, Notes, OPTIONS } from "../testing/merge.ts";
import { readModel, rounded, weights as numbersOf, widened, writeModel } from "../testing/models.ts";
import { merge } from "./run.ts";
import type { CombineWish, MergeOptions } from "./options.ts";

// ΔW combined as PEFT's merge_utils combine tensors, in f64 from the factors; interop compares with PEFT itself.

const names = Object.keys(MODULES);
const [Q = "", V = "", UP = ""] = names;
const LORAS: readonly TestLora[] = [
  { r: 3, alpha: 6, seed: 1, modules: MODULES },
  { r: 4, alpha: 2, seed: 2, modules: MODULES },
  // Not of all modules.
  { r: 2, alpha: 4, seed: 3, modules: { [Q]: [37, 37] } },
];

async function combineIn(
  folder: TemporaryFolder,
  combine: CombineWish,
  options: Partial<MergeOptions> = {},
  stored: "F32" | "BF16" = "F32",
) {
  const model = modelOf(stored);
  const base = await writeModel(folder.at("base"), { tensors: model });
  const adapters: string[] = [];
  for (const [at, one] of LORAS.entries()) adapters.push(await writeLora(folder.at(`lora${at}`), one));
  const all = { ...OPTIONS, base, adapters, out: folder.at("out"), combine, ...options };
  const notes = new Notes();
  const summary = await merge(all, notes, new AbortController().signal);
  return { model, summary, notes, tensors: await readModel(folder.at("out")) };
}

/** The elements of the largest magnitude. */
function trimmed(values: Float64Array, density: number): Float64Array {
  const count = Math.floor(density * values.length);
  const order = [...values.keys()].toSorted((a, b) => Math.abs(itemAt(values, b)) - Math.abs(itemAt(values, a)));
  const kept = new Set(order.slice(0, count));
  return values.map((value, at) => (kept.has(at) ? value : 0));
}

/** `ties` and the others of PEFT, for one module. */
function reference(module: string, wish: CombineWish, weights: readonly number[]): Float64Array {
  const parts = LORAS.flatMap((lora, adapter) => {
    if (!(module in lora.modules)) return [];
    const density = wish.densities[adapter] ?? wish.densities[0] ?? 1;
    const delta = loraDelta(lora, module);
    const keep = keepAtRandom({ density, seed: wish.seed ?? 0, tensor: `${module}.weight`, adapter });
    const kept = wish.how.startsWith("dare")
      ? delta.map((value, at) => value * keep(value, at))
      : trimmed(delta, density);
    return [{ kept, weight: itemAt(weights, adapter) }];
  });
  return itemAt(parts, 0).kept.map((_, at) => {
    const elements = parts.map(({ kept, weight }) => ({ value: itemAt(kept, at), weight }));
    const weighted = (list: typeof elements) => list.reduce((sum, { value, weight }) => sum + value * weight, 0);
    if (!wish.how.endsWith("ties")) return weighted(elements);
    const votes = elements.reduce(
      (sum, { value }) => sum + (wish.majoritySign === "frequency" ? Math.sign(value) : value),
      0,
    );
    const agreeing = elements.filter(({ value }) => Math.sign(value) === (votes >= 0 ? 1 : -1));
    return weighted(agreeing) / Math.max(1, agreeing.length);
  });
}

test.each<[CombineWish, number[]]>([
  [{ how: "ties", densities: [0.3] }, []],
  [{ how: "ties", densities: [0.2, 0.5, 1], majoritySign: "frequency" }, [1, 0.5, -2]],
  [{ how: "magnitude-prune", densities: [0.1] }, [0.7]],
  [{ how: "dare-linear", densities: [0.4], seed: 9 }, [1, 2, 3]],
  [{ how: "dare-ties", densities: [0.6, 0.3, 0.5] }, []],
  [{ how: "ties", densities: [1e-9] }, []],
])("%j, weights %j", async (wish, scales) => {
  await using folder = await TemporaryFolder.create();
  const { model, tensors, summary, notes } = await combineIn(folder, wish, { scales });
  expect([summary.merged, summary.combine, notes.warnings]).toEqual([3, wish.how, []]);
  const weights = LORAS.map((_, at) => scales[at] ?? scales[0] ?? 1);
  for (const [name, before] of Object.entries(model)) {
    const after = itemAt([tensors[name] ?? before], 0);
    const module = name.replace(/\.weight$/, "");
    if (!names.includes(module)) {
      expect(after.data).toEqual(before.data);
      continue;
    }
    const delta = reference(module, wish, weights);
    const largest = delta.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const [old, found] = [widened(before), widened(after)];
    delta.forEach((value, at) => {
      expect(Math.abs(itemAt(found, at) - itemAt(old, at) - value)).toBeLessThan(2e-6 * largest + 2e-8);
    });
  }
});

test("a sum is what merges without --combine are; density 1 prunes nothing", async () => {
  await using folder = await TemporaryFolder.create();
  const { tensors } = await combineIn(folder, { how: "sum", densities: [] });
  const plain = await combineIn(folder, { how: "magnitude-prune", densities: [1] }, { force: true });
  for (const name of names) {
    const [a, b] = [tensors, plain.tensors].map((one) => widened(one[`${name}.weight`] ?? numbersOf("F32", [0], 0)));
    a?.forEach((value, at) => expect(Math.abs(value - (b?.[at] ?? NaN))).toBeLessThan(1e-7));
  }
});

test("in 16 bits the combination is rounded once; --unmerge takes it back", async () => {
  await using folder = await TemporaryFolder.create();
  const wish = { how: "ties", densities: [0.3] } as const;
  const { model, tensors } = await combineIn(folder, wish, {}, "BF16");
  const before = widened(model[`${UP}.weight`] ?? numbersOf("F32", [0], 0));
  const delta = reference(UP, wish, [1, 1, 1]);
  const wanted = widened({
    dtype: "BF16",
    data: rounded(
      before.map((value, at) => value + itemAt(delta, at)),
      "BF16",
    ),
  });
  const found = widened(tensors[`${UP}.weight`] ?? numbersOf("F32", [0], 0));
  const different = found.filter((value, at) => value !== wanted[at]).length;
  expect(different / found.length).toBeLessThan(0.001);
  await using again = await TemporaryFolder.create();
  const added = await combineIn(again, wish);
  const back = { base: again.at("out"), unmerge: true, out: again.at("back") };
  await combineIn(again, wish, back);
  const [was, is] = [added.model[`${V}.weight`], (await readModel(again.at("back")))[`${V}.weight`]].map((one) =>
    widened(one ?? numbersOf("F32", [0], 0)),
  );
  was?.forEach((value, at) => expect(Math.abs(value - (is?.[at] ?? NaN))).toBeLessThan(3e-8));
});

describe("refused", () => {
  test("magnitudes, whose ΔW is none that can be trimmed", async () => {
    await using folder = await TemporaryFolder.create();
    const base = await writeModel(folder.at("base"), { tensors: modelOf("F32") });
    const one: TestLora = { r: 2, alpha: 2, seed: 1, modules: { [Q]: [37, 37] } };
    const dora = await writeLora(folder.at("dora"), one, {
      config: { use_dora: true },
      tensors: { [`base_model.model.${Q}.lora_magnitude_vector`]: f32([37], new Float32Array(37).fill(1)) },
    });
    const combine = { how: "ties", densities: [0.5] } as const;
    const options = { ...OPTIONS, base, adapters: [dora], out: folder.at("out"), combine };
    const refusal = await refusalOf(() => merge(options, new Notes(), new AbortController().signal));
    expect([refusal.code, refusal.message]).toEqual([
      "adapter",
      expect.stringContaining("its ΔW depends on the weights"),
    ]);
  });

  test("another number of densities than of adapters", async () => {
    await using folder = await TemporaryFolder.create();
    const refusal = await refusalOf(() => combineIn(folder, { how: "ties", densities: [0.5, 0.5] }));
    expect(refusal.message).toBe("--density is given 2 times for 3 adapters");
  });
});
