import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { object, type ObjectEntries } from "valibot";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { Run } from "../../compute/tensor/run.ts";
import { sliceRows, type Tensor } from "../../compute/tensor/tensor.ts";
import { itemAt } from "../../files/item-at.ts";
import type { JsonObject } from "../../files/lossless-json.ts";
import { mapValues } from "../../files/map-values.ts";
import { shapeElements } from "../../files/safetensors/header.ts";
import { parseSettings } from "../base/config-keys.ts";
import { type DeltaRows, laterRows, stridedWeight } from "../formula/formula.ts";
import type { FormulaMethod } from "../formula/method.ts";
import { matrixOf } from "../method/train.ts";
import { error, numbers, placed, taken } from "./bases.ts";

const SCALE = 0.7;

/** Rows of a matrix in parts that begin anywhere, as no device's limits would cut them. */
function partsOf(matrix: Tensor, cuts: readonly number[], weight: Tensor | undefined): DeltaRows[] {
  const own = weight === undefined ? undefined : stridedWeight(weight);
  const ends = [...cuts.filter((cut) => cut < matrix.shape[0]), matrix.shape[0]];
  return ends.map((end, at) => {
    const first = ends[at - 1] ?? 0;
    return { first, rows: sliceRows(matrix, first, end - first), weight: laterRows(own, first) };
  });
}

/**
 * Holds a formula's ΔW to its definition, and its gradients to slopes of that.
 * @param settings PEFT's further keys, where they are not the usual ones
 * @param modules out, in and rank: tall, wide and square, with sizes that nothing divides
 */
export function testFormula<T extends string, O extends ObjectEntries>(
  { title, formula, tensors, peft, takesWeight, start }: FormulaMethod<T, O>,
  modules: readonly (readonly [out: number, input: number, rank: number])[],
  settings: JsonObject = {},
): void {
  const own = parseSettings(object(peft?.keys ?? ({} as O)), settings, "");
  let gpu: Device;
  beforeAll(async () => {
    gpu = await openTestDevice({ limits: "guaranteed" });
  });
  afterAll(() => gpu.close());

  describe.each(modules)(`${title}: ΔW (%d, %d) of rank %d`, (out, input, r) => {
    const shape = { out, in: input };
    const one = formula(shape, { r, own });
    const shapes = tensors.shapes({ r, own }, { ...shape, module: "" });
    const isWhole = (key: T) => tensors.integers?.includes(key) === true;
    const valuesOf = () =>
      mapValues(shapes, (size, key) => {
        const whole = isWhole(key) ? start(shape, { r, own }, 3, 0)[key]?.() : undefined;
        return whole ?? numbers(shapeElements(size));
      });
    const place = (values: ReturnType<typeof valuesOf>) =>
      mapValues(shapes, (size, key) => placed(gpu, matrixOf({ name: key, shape: size }).shape, values[key], 64));
    const weights = numbers(out * input);
    const placedWeight = () => (takesWeight?.(own) === true ? placed(gpu, [out, input], weights) : undefined);
    const deltaOf = (values: Readonly<Record<T, ArrayLike<number>>>) =>
      Float64Array.from({ length: out * input }, (_, at) =>
        one.at(values, Math.floor(at / input), at % input, (row, col) => itemAt(weights, row * input + col)),
      );

    test.each([
      ["assigned", false, []],
      ["assigned in parts", false, [1, 8, 9, 21]],
      ["added in parts", true, [3, 20]],
    ] as const)("is the definition's, %s", async (_, accumulate, cuts) => {
      const values = valuesOf();
      const before = numbers(out * input);
      const [of, target] = [place(values), placed(gpu, [out, input], before)];
      // What is assigned clears the padding, too; what is added finds it cleared.
      if (!accumulate) gpu.write(target.buffer, new Float32Array(target.buffer.size / 4).fill(5));
      using run = new Run(gpu);
      const weight = placedWeight();
      for (const part of partsOf(target, cuts, weight)) one.form(run, of, SCALE, { ...part, values }, accumulate);
      await run.submit();
      const wanted = deltaOf(values).map((value, at) => SCALE * value + (accumulate ? itemAt(before, at) : 0));
      expect(error(await taken(gpu, target), wanted)).toBeLessThan(1e-6);
      for (const { buffer } of [target, ...(weight === undefined ? [] : [weight]), ...Object.values<Tensor>(of)])
        gpu.memory.release(buffer);
    });

    test.each([
      ["whole", []],
      ["in parts", [1, 8, 9, 21]],
    ] as const)("its gradients are slopes of Σ G ⊙ ΔW, %s", async (_, cuts) => {
      const [values, begun, g] = [valuesOf(), valuesOf(), numbers(out * input)];
      const [of, gradients, placedG] = [place(values), place(begun), placed(gpu, [out, input], g)];
      using run = new Run(gpu);
      const weight = placedWeight();
      for (const part of partsOf(placedG, cuts, weight)) one.fold(run, of, SCALE, { ...part, values }, gradients);
      await run.submit();
      const exact = mapValues(values, (of) => Float64Array.from(of));
      const sum = () => deltaOf(exact).reduce((total, value, at) => total + value * itemAt(g, at), 0);
      for (const key of Object.keys(shapes) as T[]) {
        if (tensors.fixed?.includes(key) === true) continue;
        const wanted = exact[key].map((value, at) => {
          const moved = (by: number) => {
            exact[key][at] = value + by;
            return sum();
          };
          const slope = (moved(1e-3) - moved(-1e-3)) / 2e-3;
          exact[key][at] = value;
          return SCALE * slope + itemAt(begun[key], at);
        });
        expect(error(await taken(gpu, gradients[key]), wanted), key).toBeLessThan(1e-5);
      }
      for (const all of [of, gradients]) {
        for (const { buffer } of Object.values<Tensor>(all)) gpu.memory.release(buffer);
      }
      for (const one of [placedG, weight]) if (one !== undefined) gpu.memory.release(one.buffer);
    });
  });
}
