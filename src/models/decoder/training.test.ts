import { afterAll, beforeAll, expect, test } from "bun:test";
import { expectedStories, STORIES } from "../../../fixtures/stories/storyteller.ts";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { read } from "../../compute/device/transfer.ts";
import { Run } from "../../compute/tensor/run.ts";
import { Tape } from "../../compute/tensor/tape.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import type { Decoder } from "./decoder.ts";
import { loadDecoder } from "../folder/load-decoder.ts";
import { PLAIN_LINEARS } from "../blocks/linears.ts";
import { recordTraining, type TrainingBatch, type TrainingOptions } from "./training.ts";

const COMPILE_TIMEOUT = 120_000;

/** Three texts, of which one is a single pair of tokens. */
const [long, longer, last] = await expectedStories();
const SAMPLES = [long.ids.slice(0, 10), longer?.ids.slice(0, 2) ?? [], last?.ids.slice(0, 8) ?? []];

let gpu: Device;
let decoder: Decoder;
beforeAll(async () => {
  gpu = await openTestDevice();
  decoder = await loadDecoder(gpu, STORIES);
}, COMPILE_TIMEOUT);
afterAll(() => gpu.close());

/** The samples one after another, every token but the first of each supervised. */
function batchOf(samples: readonly (readonly number[])[]): TrainingBatch {
  const starts = samples.map((_, index) => samples.slice(0, index).reduce((sum, { length }) => sum + length, 0));
  const each = (values: (sample: readonly number[], start: number) => readonly number[]) =>
    Uint32Array.from(samples.flatMap((sample, index) => values(sample, starts[index] ?? NaN)));
  return {
    ids: each((sample) => sample),
    positions: each((sample) => sample.map((_, position) => position)),
    starts: each((sample, start) => sample.map(() => start)),
    rows: each((sample, start) => sample.slice(1).map((_, row) => start + row)),
    targets: each((sample) => sample.slice(1)),
  };
}

async function firstColumn({ shape: [rows], buffer, pitch }: Tensor): Promise<number[]> {
  const all = new Float32Array((await read(gpu, buffer)).buffer);
  return Array.from({ length: rows }, (_, row) => all[row * pitch] ?? NaN);
}

/** The loss, a sum over all tokens. */
async function evaluate(batch: TrainingBatch): Promise<number[]> {
  using run = new Run(gpu);
  const nll = run.keep(recordTraining(run, decoder.config, decoder.weights, PLAIN_LINEARS, batch));
  await run.submit();
  const values = await firstColumn(nll);
  gpu.memory.release(nll.buffer);
  return values;
}

/** The gradient of the loss by every matrix on the GPU, as it lies there; and the most memory that was in use. */
async function differentiate(batch: TrainingBatch, options: TrainingOptions) {
  const { config, weights } = decoder;
  const watched = [...new Set([...weights.tensors.values()].map(({ buffer }) => buffer))];
  const gradients = watched.map((buffer) => {
    const gradient = gpu.memory.allocate("gradient", buffer.size);
    gpu.write(gradient, new Uint8Array(gradient.size));
    return gradient;
  });
  const before = gpu.memory.liveBytes;
  let most = 0;
  {
    using run = new Run(gpu);
    const tape = new Tape(run);
    for (const tensor of weights.tensors.values()) {
      const gradient = gradients[watched.indexOf(tensor.buffer)];
      if (gradient !== undefined) tape.watch(tensor, { ...tensor, buffer: gradient });
    }
    const nll = recordTraining(tape, config, weights, PLAIN_LINEARS, batch, options);
    most = gpu.memory.liveBytes - before;
    tape.backward(nll, run.upload("ones", nll.shape, new Float32Array(nll.shape[0]).fill(1)));
    tape.release(nll);
    await run.submit();
  }
  expect(gpu.memory.liveBytes).toBe(before);
  const values = await Promise.all(
    gradients.map(async (gradient) => new Float32Array((await read(gpu, gradient)).buffer)),
  );
  for (const gradient of gradients) gpu.memory.release(gradient);
  return { watched, values, most };
}

test(
  "samples in one batch have the losses that they have alone",
  async () => {
    const wanted: number[] = [];
    for (const sample of SAMPLES) {
      using cache = decoder.createCache();
      wanted.push(...(await decoder.nll(cache, sample)));
    }
    const found = await evaluate(batchOf(SAMPLES));
    expect(found.length).toBe(wanted.length);
    found.forEach((value, at) => expect(Math.abs(value - (wanted[at] ?? NaN))).toBeLessThan(1e-4));
  },
  COMPILE_TIMEOUT,
);

test(
  "the loss falls along the gradient as fast as the gradient says",
  async () => {
    const batch = batchOf(SAMPLES);
    const { watched, values } = await differentiate(batch, {});
    const square = values.reduce((sum, part) => part.reduce((total, value) => total + value * value, sum), 0);
    const original = await Promise.all(
      watched.map(async (buffer) => new Float32Array((await read(gpu, buffer)).buffer)),
    );
    const moved = async (by: number) => {
      watched.forEach((buffer, index) => {
        const gradient = values[index];
        gpu.write(
          buffer,
          original[index]?.map((value, at) => value + by * (gradient?.[at] ?? NaN)) ?? new Float32Array(),
        );
      });
      return (await evaluate(batch)).reduce((sum, value) => sum + value, 0);
    };
    const step = 3e-3 / Math.sqrt(square);
    const slope = ((await moved(step)) - (await moved(-step))) / (2 * step);
    await moved(0);
    expect(Math.abs(slope / square - 1)).toBeLessThan(2e-3);
  },
  COMPILE_TIMEOUT,
);

test(
  "checkpoints between layers save memory and change no bit",
  async () => {
    const batch = batchOf(Array.from({ length: 12 }, () => SAMPLES).flat());
    const plain = await differentiate(batch, {});
    const again = await differentiate(batch, {});
    const checkpointed = await differentiate(batch, { checkpointing: true });
    expect(again.values).toEqual(plain.values);
    expect(checkpointed.values).toEqual(plain.values);
    expect(checkpointed.most).toBeLessThan(0.5 * plain.most);
  },
  COMPILE_TIMEOUT,
);
