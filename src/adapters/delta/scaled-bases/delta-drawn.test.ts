import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../../../compute/device/device.ts";
import { padded4 } from "../../../compute/device/families/delta.ts";
import type { Pairing } from "../../../compute/device/pairing.ts";
import { openTestDevice } from "../../../compute/device/testing/open.ts";
import { read } from "../../../compute/device/transfer.ts";
import { philoxFill, philoxStream } from "../../../compute/random/philox.ts";
import { Run } from "../../../compute/tensor/run.ts";
import { type Bases, type BasesSpec, drawBases } from "../../frozen/drawing/draw.ts";
import { fromProjections } from "../../frozen/drawing/saved.ts";
import { toProjection } from "../../frozen/origin.ts";
import { randloraShape } from "../../randlora/plan.ts";
import { drawnTensors } from "../../testing/convert.ts";
import { DeltaBases } from "./delta.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

const [OUT, IN, RANK] = [75, 53, 6];
const TERMS = Math.ceil(IN / RANK) * RANK;

function normalized(stream: 0 | 1, count: number): Float32Array {
  const values = new Float32Array(count);
  philoxFill(philoxStream(9n, stream, "dense", 1), 0, values);
  return values;
}

/** The bytes of ΔW in f32. */
async function deltaOf(bases: Bases, pairing: Pairing): Promise<Uint8Array> {
  const kernel = await DeltaBases.create(gpu, bases, pairing);
  const layer = kernel.layer({
    shape: randloraShape(OUT, IN, RANK),
    weightIsTransposed: false,
    scale: 0.3,
    lambda: normalized(0, TERMS),
    gamma: normalized(1, (TERMS / RANK) * IN),
  });
  const pitch = padded4(IN);
  const buffer = gpu.memory.allocate("ΔW", OUT * pitch * 4);
  using run = new Run(gpu);
  kernel.form(run, layer, { firstRow: 0, rows: OUT, pitch, target: buffer });
  await run.submit();
  const bytes = await read(gpu, buffer);
  gpu.memory.release(buffer);
  kernel.releaseLayer(layer);
  kernel.release();
  return bytes;
}

const KINDS = (["dense", "sparse", "very-sparse"] as const).flatMap((sparsity) =>
  (["f32", "bf16", "f16"] as const).map((grid) => [sparsity, grid] as const),
);

test.each(KINDS)("drawn bases give the bytes of the same bases stored: philox-v1, %s, %s", async (sparsity, grid) => {
  const spec: BasesSpec = { generator: "philox-v1", key: -3n, r: RANK, max: 91, min: 57, sparsity, grid };
  const extent = { rows: OUT, bases: TERMS / RANK, cols: IN };
  const drawn = drawBases(spec, extent);
  const pair = await drawnTensors(spec);
  const stored = await fromProjections(toProjection(pair.a, "saved"), toProjection(pair.b, "saved"), RANK, extent);
  expect(drawn.b.storage.kind).toBe("philox");
  expect(stored.b.storage.kind).toBe(sparsity === "dense" ? grid : "ternary");
  for (const pairing of ["peft", "paper"] as const) {
    const [ours, theirs] = [await deltaOf(drawn, pairing), await deltaOf(stored, pairing)];
    expect(Buffer.compare(ours, theirs)).toBe(0);
    expect(ours.some((byte) => byte !== 0)).toBe(true);
  }
});
