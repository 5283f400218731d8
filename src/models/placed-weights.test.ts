import { expect, test } from "bun:test";
import { toBlocks } from "../compute/device/blocks.ts";
import { TemporaryFolder } from "../files/testing/folder.ts";
import type { Device } from "../compute/device/device.ts";
import { openTestDevice } from "../compute/device/testing/open.ts";
import { read } from "../compute/device/transfer.ts";
import { Checkpoint } from "../files/safetensors/checkpoint.ts";
import type { Tensor } from "../compute/tensor/tensor.ts";
import { PlacedWeights } from "./placed-weights.ts";
import { checkTensors, type PlannedMatrix, plannedLinear, plannedMatrix, plannedVector } from "./tensor-plan.ts";
import { writeModel } from "./testing/models.ts";

/** What towers of images have: patches as a convolution, rows and vectors among axes of one, a number. */
const STORED = {
  patches: [8, 3, 3, 3],
  positions: [1, 5, 6],
  token: [1, 1, 6],
  bias: [3],
  other: [2],
  scale: [],
} as const;
const PLAN = {
  patches: plannedMatrix(27, ["patches", STORED.patches]),
  sequence: plannedMatrix(6, ["token", STORED.token], ["positions", STORED.positions]),
  biases: plannedVector(["bias", STORED.bias], ["other", STORED.other]),
  scale: plannedVector(["scale", STORED.scale]),
};
const EXPECTED = { architecture: "tower", isSuperfluous: () => false };

/** A checkpoint of one file whose element number n of all is n. */
async function counting(folder: string, shapes: Readonly<Record<string, readonly number[]>>): Promise<Checkpoint> {
  await writeModel(folder, {}, shapes, (at) => at);
  return Checkpoint.open(folder);
}

/** The rows of a tensor with what is behind them. */
async function rowsOf(gpu: Device, { buffer, shape, pitch, offset }: Tensor): Promise<number[][]> {
  const all = new Float32Array((await read(gpu, buffer)).buffer);
  return Array.from({ length: shape[0] }, (_, row) => [
    ...all.subarray(offset + row * pitch, offset + row * pitch + shape[1]),
  ]);
}

function range(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, at) => first + at);
}

test("tensors of any number of axes lie as matrices on the GPU", async () => {
  await using folder = await TemporaryFolder.create();
  await using checkpoint = await counting(folder.path, STORED);
  using gpu = await openTestDevice();
  checkTensors(Object.values(PLAN), checkpoint, EXPECTED);
  const weights = new PlacedWeights(gpu, checkpoint, {});
  const place = (planned: PlannedMatrix) => weights.place(planned);
  const [patches, sequence, biases, scale] = [PLAN.patches, PLAN.sequence, PLAN.biases, PLAN.scale].map(place) as [
    Tensor,
    Tensor,
    Tensor,
    Tensor,
  ];
  let bytes = 0;
  await weights.fill((read) => (bytes += read));
  expect(bytes).toBe(4 * (216 + 30 + 6 + 3 + 2 + 1));
  // In the order of the file: 216 elements of patches, 30 of positions, 6 of the token, then vectors and the number.
  expect(await rowsOf(gpu, patches)).toEqual(range(0, 8).map((row) => range(27 * row, 27)));
  expect(await rowsOf(gpu, sequence)).toEqual([range(246, 6), ...range(0, 5).map((row) => range(216 + 6 * row, 6))]);
  expect(await rowsOf(gpu, biases)).toEqual([range(252, 5)]);
  expect(await rowsOf(gpu, scale)).toEqual([[257]]);
  const views = new Map(weights.tensors);
  expect([...views.keys()]).toEqual(["patches", "token", "positions", "bias", "other", "scale"]);
  expect(views.get("positions")).toMatchObject({ buffer: sequence.buffer, shape: [5, 6] });
  expect(views.get("bias")).toMatchObject({ buffer: biases.buffer, shape: [1, 3], offset: 0 });
  expect(views.get("other")).toMatchObject({ buffer: biases.buffer, shape: [1, 2], offset: 3 });
  const before = gpu.memory.liveBytes;
  const held = weights.bytes;
  weights.release();
  expect(gpu.memory.liveBytes).toBe(before - held);
});

test.each([
  ["patches", [8, 27], "patches: its shape is [8, 27], by config.json it is [8, 3, 3, 3]"],
  ["patches", [3, 8, 3, 3], "patches: its shape is [3, 8, 3, 3], by config.json it is [8, 3, 3, 3]"],
  ["scale", [1], "scale: its shape is [1], by config.json it is []"],
  ["token", [6], "token: its shape is [6], by config.json it is [1, 1, 6]"],
])("another shape of as many elements is refused: %s %p", async (name, shape, message) => {
  await using folder = await TemporaryFolder.create();
  await using checkpoint = await counting(folder.path, { ...STORED, [name]: shape });
  expect(() => checkTensors(Object.values(PLAN), checkpoint, EXPECTED)).toThrow(message);
});

test("a plan whose axes make no rows is a mistake in the program", () => {
  expect(() => plannedMatrix(5, ["patches", STORED.patches])).toThrow("patches: [8, 3, 3, 3] has no rows of 5");
});

test.each([["Q8_0"], ["Q4_0"]] as const)(
  "weights of linear layers are quantized to %s, all others as they are",
  async (dtype) => {
    await using folder = await TemporaryFolder.create();
    const shapes = { q: [3, 96], k: [2, 96], short: [4, 48], table: [5, 64], bias: [32] };
    await using checkpoint = await counting(folder.path, shapes);
    using gpu = await openTestDevice();
    const weights = new PlacedWeights(gpu, checkpoint, { quantize: dtype });
    const joined = weights.place(plannedLinear(96, ["q", shapes.q], ["k", shapes.k]));
    const others = [
      weights.place(plannedLinear(48, ["short", shapes.short])),
      weights.place(plannedMatrix(64, ["table", shapes.table])),
      weights.place(plannedVector(["bias", shapes.bias])),
    ];
    await weights.fill();
    expect(others.map((tensor) => tensor.dtype)).toEqual(["F32", "F32", "F32"]);
    expect(joined).toMatchObject({ dtype, shape: [5, 96], pitch: 96, offset: 0 });
    const { quants, scales } = toBlocks(Float32Array.from(range(0, 5 * 96)), dtype);
    const held = await read(gpu, joined.buffer);
    expect(held.subarray(0, quants.length)).toEqual(quants);
    // The scales of k begin within a word.
    expect(held.slice(joined.scalesAt, quants.length + scales.byteLength)).toEqual(new Uint8Array(scales.buffer));
    expect(weights.projected).toEqual(new Set(["q", "k", "short", "table"]));
    expect(weights.quantized).toEqual({ dtype, bytes: quants.length + scales.byteLength, stored: 5 * 96 * 4 });
    expect(new Map(weights.tensors).get("k")).toMatchObject({ offset: 3 * 96, shape: [2, 96] });
    weights.release();
  },
);
