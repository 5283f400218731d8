import { expect, test } from "bun:test";
import { TemporaryFolder } from "../../../files/testing/folder.ts";
import { itemAt } from "../../../files/item-at.ts";
import type { AdapterPlan } from "../../method/plan.ts";
import { untrainedAdapter } from "../../method/train.ts";
import { finishSteps } from "../../frozen/drawing/bases.ts";
import { type TestLora, writeLora } from "../../testing/lora.ts";
import { ADAPTER, modelOf, MODULES, Notes, OPTIONS } from "../testing/merge.ts";
import { readModel, type Tensors, widened, writeAdapter, writeModel } from "../testing/models.ts";
import { merge } from "../to-files/run.ts";
import { withoutIntruders, intruderSteps } from "./intruders.ts";

const LORA: TestLora = { r: 3, alpha: 6, seed: 1, modules: MODULES };
/** Square: any axis of it could be the other one. */
const SQUARE: TestLora = { ...LORA, modules: Object.fromEntries(Object.entries(MODULES).slice(0, 1)) };
const KEPT = 0.25;

const values = (tensors: Tensors, name: string) => {
  const tensor = tensors[name];
  if (tensor === undefined) throw new Error(name);
  return widened(tensor);
};

test.each([
  ["LoRA", (path: string) => writeLora(path, LORA)],
  ["RandLoRA", (path: string) => writeAdapter(path, { ...ADAPTER, size: 4 })],
  [
    "LoRA of weights that are stored (in, out)",
    (path: string) => writeLora(path, SQUARE, { config: { fan_in_fan_out: true } }),
  ],
] as const)("of %s a part of each intruder dimension is kept, and nothing else changes", async (_, write) => {
  await using folder = await TemporaryFolder.create();
  const model = modelOf("F32");
  const base = await writeModel(folder.at("base"), { tensors: model });
  const adapter = await write(folder.at("adapter"));
  const merged = async (out: string, reduceIntruders?: number) => {
    const options = { ...OPTIONS, base, adapters: [adapter], out: folder.at(out), reduceIntruders };
    return await merge(options, new Notes(), new AbortController().signal);
  };
  const whole = await readModel((await merged("whole")).out);
  const { out, intruders, maxErrorUlp } = await merged("reduced", KEPT);
  expect(maxErrorUlp).toBeDefined();
  const reduced = await readModel(out);
  let count = 0;
  for (const [name, { shape }] of Object.entries(model)) {
    const [rows = 0, cols = 0] = shape;
    if (!Object.keys(MODULES).includes(name.replace(/\.weight$/, ""))) {
      expect(reduced[name]).toEqual(whole[name]);
      continue;
    }
    const [weight, adapted, after] = [values(model, name), values(whole, name), values(reduced, name)];
    const found = finishSteps(intruderSteps({ rows, cols, data: weight }, { rows, cols, data: adapted }));
    count += found.length;
    const largest = Math.max(...adapted.map(Math.abs));
    after.forEach((value, at) => {
      const [row, col] = [Math.floor(at / cols), at % cols];
      const lost = found.reduce((sum, one) => sum + one.value * itemAt(one.left, row) * itemAt(one.right, col), 0);
      const apart = Math.abs(value - (itemAt(adapted, at) - (1 - KEPT) * lost));
      expect(apart / largest).toBeLessThan(2e-6);
    });
  }
  expect(count).toBeGreaterThan(0);
  expect(intruders?.reduce((sum, one) => sum + one)).toBe(count);
});

test("weights of experts together are refused", () => {
  const layer = {
    module: "m",
    tensor: "m.weight",
    source: "m.weight",
    dtype: "F32",
    out: 8,
    in: 4,
    conv1d: false,
  } as const;
  const load = () => Promise.reject(new Error("not asked for"));
  const plan: AdapterPlan = {
    adapter: untrainedAdapter({}, []),
    layers: [{ ...layer, shape: [2, 4, 4] }],
    replacements: [],
    notes: [],
    bases: "none",
    roundsDelta: false,
    load,
  };
  expect(() => withoutIntruders(plan, 0.5, () => {})).toThrow(
    'singular vectors of "m.weight" [2, 4, 4] are not computed',
  );
});
