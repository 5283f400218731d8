import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as v from "valibot";
import type { Device } from "../src/compute/device/device.ts";
import { openTestDevice } from "../src/compute/device/testing/open.ts";
import { read } from "../src/compute/device/transfer.ts";
import { SUPPORTED_TYPES } from "../src/models/decoder/architectures/index.ts";
import { loadDecoder } from "../src/models/folder/load-decoder.ts";
import { PLAIN_LINEARS } from "../src/models/blocks/linears.ts";
import { recordTraining, type TrainingBatch } from "../src/models/decoder/training.ts";
import { Run } from "../src/compute/tensor/run.ts";
import { Tape } from "../src/compute/tensor/tape.ts";
import { type Tensor, tensorBytes, tensorIn } from "../src/compute/tensor/tensor.ts";
import { judge } from "./judge.ts";
import { transpose } from "../src/files/safetensors/transpose.ts";
import { openTensors } from "./tensors.ts";

const Made = v.record(
  v.string(),
  v.object({
    samples: v.array(v.object({ ids: v.array(v.number()), rows: v.array(v.number()) })),
    nll: v.array(v.number()),
  }),
);
/** Vision parts, numbers of layers and their table in the file, and the decays of a gated delta rule: no method trains them, and OPS.gatedDelta has no gradient of decays. */
const NOT_TRAINED =
  /^(?:visual|vision_tower|multi_modal_projector|model\.(?:visual|vision_tower|embed_vision))\.|\.layer_scalar$|\.embed_tokens_per_layer\.weight$|\.linear_attn\.(?:A_log|dt_bias)$/;
type Sample = v.InferOutput<typeof Made>[string]["samples"][number];

const folder = await mkdtemp(join(tmpdir(), "randlora-gradients-"));
await (await judge()).script("gradients.py", folder);
const made = v.parse(Made, await Bun.file(join(folder, "expected.json")).json());

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(async () => {
  gpu.close();
  await rm(folder, { recursive: true });
});

/** The samples one after another. */
function batchOf(samples: readonly Sample[]): TrainingBatch {
  const starts = samples.map((_, index) => samples.slice(0, index).reduce((sum, { ids }) => sum + ids.length, 0));
  const each = (values: (sample: Sample, start: number) => readonly number[]) =>
    Uint32Array.from(samples.flatMap((sample, index) => values(sample, starts[index] ?? NaN)));
  return {
    ids: each(({ ids }) => ids),
    positions: each(({ ids }) => ids.map((_, position) => position)),
    starts: each(({ ids }, start) => ids.map(() => start)),
    rows: each(({ rows }, start) => rows.map((row) => start + row)),
    targets: each(({ ids, rows }) => rows.map((row) => ids[row + 1] ?? NaN)),
  };
}

/** The values of a tensor that begins its buffer, without padding. */
async function valuesOf({ shape: [rows, cols], buffer, pitch }: Tensor): Promise<Float32Array> {
  const all = new Float32Array((await read(gpu, buffer)).buffer);
  const values = new Float32Array(rows * cols);
  for (let row = 0; row < rows; row++) values.set(all.subarray(row * pitch, row * pitch + cols), row * cols);
  return values;
}

/** The loss of each supervised token, and the gradient of their mean by every weight. */
async function differentiate(name: string, samples: readonly Sample[], checkpointing: boolean) {
  using decoder = await loadDecoder(gpu, join(folder, name));
  const gradients = new Map(
    [...decoder.weights.tensors].map(([name, { shape }]) => {
      const buffer = gpu.memory.allocate(`gradient of ${name}`, tensorBytes(shape, "F32"));
      gpu.write(buffer, new Uint8Array(buffer.size));
      return [name, tensorIn(buffer, shape, "F32")];
    }),
  );
  using run = new Run(gpu);
  const tape = new Tape(run);
  for (const [name, gradient] of gradients) {
    const weight = decoder.weights.tensors.get(name);
    if (weight !== undefined) tape.watch(weight, gradient);
  }
  const { config, weights } = decoder;
  const nll = recordTraining(tape, config, weights, PLAIN_LINEARS, batchOf(samples), { checkpointing });
  const [count] = nll.shape;
  tape.backward(nll, run.upload("mean", nll.shape, new Float32Array(count).fill(1 / count)));
  run.keep(nll);
  await run.submit();
  const found = new Map<string, Float32Array>();
  for (const [name, gradient] of gradients) {
    const values = await valuesOf(gradient);
    const [cols = NaN, rows = NaN] = weights.transposed.get(name)?.slice(-2) ?? [];
    const turned = () => transpose(Uint8Array.from(new Uint8Array(values.buffer)), rows, cols, 4).buffer;
    found.set(name, weights.transposed.has(name) ? new Float32Array(turned()) : values);
    gpu.memory.release(gradient.buffer);
  }
  const losses = await valuesOf(nll);
  gpu.memory.release(nll.buffer);
  return { losses, found };
}

const largest = (values: ArrayLike<number>) =>
  Array.from(values).reduce((most, value) => Math.max(most, Math.abs(value)), 0);

test("every architecture is tried", () => {
  const tried = new Set(Object.keys(made).map((name) => name.split("-")[0]?.replace("_text", "")));
  expect([...tried].toSorted()).toEqual(
    [...new Set(SUPPORTED_TYPES.map((type) => type.replace("_text", "")))].toSorted(),
  );
});

for (const [name, wanted] of Object.entries(made)) {
  test(`${name}: every weight's gradient is PyTorch's`, async () => {
    const { losses, found } = await differentiate(name, wanted.samples, false);
    expect(losses.length).toBe(wanted.nll.length);
    wanted.nll.forEach((loss, at) =>
      expect(Math.abs((losses[at] ?? NaN) - loss)).toBeLessThan(1e-4 * largest(wanted.nll)),
    );
    const all = [...openTensors(join(folder, name, "gradients.safetensors"))];
    const gradients = new Map(all.filter(([weight]) => !NOT_TRAINED.test(weight)));
    for (const weight of found.keys()) if (NOT_TRAINED.test(weight)) found.delete(weight);
    expect([...found.keys()].toSorted()).toEqual([...gradients.keys()].toSorted());
    const steepest = largest([...gradients.values()].map((stored) => largest(stored.values())));
    for (const [weight, stored] of gradients) {
      const want = stored.values();
      const have = found.get(weight) ?? new Float32Array();
      const errors = want.map((value, at) => value - (have[at] ?? NaN));
      expect(errors.some(Number.isNaN), weight).toBe(false);
      // Without rope a bias of keys moves all scores of a query alike: its gradient is 0, but for rounding.
      expect(largest(errors), weight).toBeLessThan(Math.max(1e-3 * largest(want), 1e-6 * steepest));
    }
    const again = await differentiate(name, wanted.samples, true);
    for (const [weight, values] of found) expect(again.found.get(weight), weight).toEqual(values);
  });
}
