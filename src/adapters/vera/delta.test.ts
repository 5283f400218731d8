import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../../compute/device/device.ts";
import { padded4 } from "../../compute/device/families/delta.ts";
import { readElement } from "../../compute/device/matrix-storage.ts";
import type { Staging } from "../../compute/device/staging.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { read } from "../../compute/device/transfer.ts";
import { Run } from "../../compute/tensor/run.ts";
import { itemAt } from "../../files/item-at.ts";
import { DeltaBases } from "../delta/scaled-bases/delta.ts";
import { readAllValues } from "../files/tensors.ts";
import { loadFrozen } from "../frozen/origin.ts";
import { baseOf } from "../testing/adapters.ts";
import { error } from "../testing/bases.ts";
import { foreignFactors, type TestVera, vectorsOf, veraTensors, withVera } from "../testing/vera.ts";
import { UNREAD } from "../testing/weights.ts";
import { VERA_FACTORS, planVera, VERA_PAIRING, veraShape } from "./plan.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

interface Case {
  readonly out: number;
  readonly in: number;
  readonly r: number;
  readonly conv1d?: boolean;
  readonly staging?: Staging;
  readonly generator?: "torch-mt19937-f32" | "philox-v1";
  readonly dtype?: "F32" | "BF16";
  readonly foreign?: boolean;
}

/** ΔW of one module as it is stored by the GPU and by the reference, beside diag(λ_b)·B·diag(λ_d)·A in f64. */
async function deltaOf({ out, in: input, r, conv1d = false, dtype = "F32", ...given }: Case) {
  const { staging = gpu.staging, generator, foreign = false } = given;
  // Another module has the larger factors.
  const vera: TestVera = { r, modules: { m: [out, input] }, config: { target_modules: ["m", "other"] } };
  const tensors = foreign ? { ...veraTensors(vera), ...foreignFactors(r, input + 3, out + 5) } : veraTensors(vera);
  const shapes = { "m.weight": conv1d ? [input, out] : [out, input], "other.weight": [out + 5, input + 3] };
  return await withVera({ ...vera, tensors, config: { ...vera.config, fan_in_fan_out: conv1d } }, async (adapter) => {
    const plan = planVera(adapter, baseOf(shapes, {}, dtype), { generator });
    const [layer] = plan.layers;
    if (layer === undefined) throw new Error("no layer");
    const factors = await loadFrozen(VERA_FACTORS, adapter.file, plan.origin, plan.config, plan.extent);
    expect(factors.b.storage.kind).toBe(
      foreign ? "f32" : generator === "philox-v1" ? "philox" : dtype === "F32" ? "f32" : "bf16",
    );
    using run = new Run(gpu, staging);
    const before = gpu.memory.liveBytes;
    const bases = await DeltaBases.create(gpu, factors, VERA_PAIRING);
    const shape = veraShape(out, input, r);
    const onGpu = bases.layer({
      shape,
      weightIsTransposed: conv1d,
      scale: 2,
      ...(await readAllValues(adapter, layer.tensors)),
    });
    const [rows, cols] = conv1d ? [input, out] : [out, input];
    const pitch = padded4(cols);
    const target = gpu.memory.allocate("target", rows * pitch * 4);
    bases.form(run, onGpu, { firstRow: 0, rows, pitch, target });
    await run.submit();
    const all = new Float32Array((await read(gpu, target)).buffer);
    bases.releaseLayer(onGpu);
    bases.release();
    gpu.memory.release(target);
    expect(gpu.memory.liveBytes).toBe(before);
    const ours = Float64Array.from({ length: out * input }, (_, at) => {
      const [row, col] = [Math.floor(at / input), at % input];
      return itemAt(all, conv1d ? col * pitch + row : row * pitch + col);
    });
    const every = (count: number) => Array.from({ length: count }, (_, i) => i);
    const source = await plan.load();
    const reference = await source.reference(0, 2, { rows: every(out), cols: every(input) }, UNREAD);
    const { b, d } = vectorsOf(vera, "m");
    const want = Float64Array.from({ length: out * input }, (_, at) => {
      const [row, col] = [Math.floor(at / input), at % input];
      let sum = 0;
      // A (r, in) and B (out, r) are held as their transposes.
      for (let k = 0; k < r; k++) {
        sum += readElement(factors.a, k, row) * itemAt(d, k) * readElement(factors.b, col, k);
      }
      return 2 * itemAt(b, row) * sum;
    });
    return { ours, reference, want };
  });
}

/** Ranks below, at and above a vector, a slab and a partial sum; odd sizes; several tiles; both orientations. */
const SIZES = [
  { out: 40, in: 24, r: 1 },
  { out: 24, in: 40, r: 4 },
  { out: 37, in: 75, r: 5 },
  { out: 1, in: 9, r: 2 },
  { out: 9, in: 1, r: 3 },
  { out: 130, in: 70, r: 64 },
  { out: 30, in: 20, r: 300 },
];
const CASES: readonly Case[] = SIZES.flatMap((one) => [
  one,
  { ...one, conv1d: true, staging: { kind: "workgroup" } },
  { ...one, generator: "philox-v1", dtype: "BF16" },
  { ...one, generator: "philox-v1", conv1d: true, staging: { kind: "workgroup" } },
  { ...one, dtype: "BF16", staging: { kind: "workgroup" } },
  { ...one, foreign: true, conv1d: true },
]);

test.each(CASES)("ΔW is diag(λ_b)·B·diag(λ_d)·A: %j", async (one) => {
  const { ours, reference, want } = await deltaOf(one);
  expect(error(reference, want)).toBeLessThan(1e-14);
  expect(error(ours, want)).toBeLessThan(2e-6);
});
