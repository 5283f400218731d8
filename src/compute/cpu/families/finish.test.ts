import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { roundFromF32, widenToF32 } from "../../../files/safetensors/numbers.ts";
import { NUMBER_DTYPES } from "../../device/dtype.ts";
import { read, uploaded } from "../../device/transfer.ts";
import { Run } from "../../tensor/run.ts";
import { CpuDevice } from "../cpu.ts";

let device: CpuDevice;
beforeAll(async () => {
  device = await CpuDevice.open({ threads: 2 });
});
afterAll(() => device.close());

type Dtype = (typeof NUMBER_DTYPES)[number];

/** Rows of no whole vectors, which are apart. */
const [COLS, PITCH] = [37, 48];

/** Every number of 16 bits, NaN, infinities and subnormal ones among them. */
function every(dtype: "F16" | "BF16"): Float32Array {
  const numbers = new Float32Array(2 ** 16);
  widenToF32(new Uint8Array(Uint16Array.from(numbers, (_, bits) => bits).buffer), dtype, numbers);
  return numbers;
}

/** These numbers, and of each two neighbors what lies half way between them, and a little less and more. */
function between(numbers: Float32Array): Float32Array {
  const finite = numbers.filter(Number.isFinite).toSorted();
  const halves = finite.slice(1).map((number, at) => (number + (finite[at] ?? NaN)) / 2);
  const last = finite.at(-1) ?? NaN;
  // Half way from the largest one to what would be the next.
  const over = last + (last - (finite.at(-2) ?? NaN)) / 2;
  const ways = Float32Array.of(...halves, over, -over);
  const bits = new Uint32Array(ways.buffer);
  const near = [-1, 1].map((step) => new Float32Array(bits.map((one) => one + step).buffer));
  return Float32Array.from([...numbers, ...ways, ...near.flatMap((one) => [...one])]);
}

/** Numbers in rows, of which what lies between them is NaN. */
function inRows(numbers: Float32Array): Float32Array<ArrayBuffer> {
  const rows = new Float32Array(Math.ceil(numbers.length / COLS) * PITCH).fill(NaN);
  for (let at = 0; at < numbers.length; at += COLS) {
    rows.set(numbers.subarray(at, at + COLS), (at / COLS) * PITCH);
    rows.fill(0, (at / COLS) * PITCH + Math.min(COLS, numbers.length - at), (at / COLS) * PITCH + COLS);
  }
  return rows;
}

/** Of numbers in rows those within them. */
function ofRows(rows: Float32Array): Float32Array {
  return rows.filter((_, at) => at % PITCH < COLS);
}

function stored(numbers: Float32Array, dtype: Dtype): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(numbers.length * (dtype === "F32" ? 4 : 2));
  roundFromF32(numbers, dtype, bytes);
  return bytes;
}

/** W + ΔW in a format, and what that did. */
async function finished(weight: Float32Array | undefined, delta: Float32Array<ArrayBuffer>, dtype: Dtype) {
  const rows = delta.length / PITCH;
  const size = { rows, cols: COLS };
  using held = new DisposableStack();
  const hold = (label: string, bytes: ArrayBufferView<ArrayBuffer>) =>
    held.adopt(uploaded(device, label, bytes), (buffer) => device.memory.release(buffer));
  const target = hold("target", stored(new Float32Array(delta.length), dtype));
  const statistics = hold("statistics", new Uint8Array(device.scratchBytes("finish", size).statistics));
  using run = new Run(device);
  run.compute("finish", {
    ...size,
    pitch: PITCH,
    ...(weight && { weight: { buffer: hold("W", stored(weight, dtype)), dtype } }),
    delta: hold("ΔW", delta),
    target: { buffer: target, dtype },
    statistics,
  });
  await run.submit();
  const numbers = new Float32Array(delta.length);
  widenToF32(await read(device, target), dtype, numbers);
  const parts = new Float32Array((await read(device, statistics)).buffer);
  const [largest, , changed, broken] = [0, 1, 2, 3].map((at) => parts.filter((_, index) => index % 4 === at));
  const sum = (values: Float32Array | undefined) => values?.reduce((total, value) => total + value, 0);
  return {
    numbers: ofRows(numbers),
    largest: Math.max(...(largest ?? [])),
    changed: sum(changed),
    broken: sum(broken),
  };
}

describe.each(["F16", "BF16"] as const)("%s", (dtype) => {
  test.each(NUMBER_DTYPES)(
    "ΔW alone is rounded to %s as a file's numbers are: ties to even, NaN, infinities",
    async (to) => {
      const delta = inRows(between(every(dtype)));
      const wanted = new Float32Array(delta.length);
      widenToF32(stored(delta, to), to, wanted);
      const { numbers, broken } = await finished(undefined, delta, to);
      const all = ofRows(wanted);
      expect(
        numbers.findIndex((number, at) => number !== all[at] && !(Number.isNaN(number) && Number.isNaN(all[at]))),
      ).toBe(-1);
      expect(broken).toBe(all.filter((number) => !Number.isFinite(number)).length);
    },
  );

  test("W of every number stays where ΔW is zero, and is changed nowhere", async () => {
    // −0 + 0 is 0.
    const weight = inRows(every(dtype).filter((number) => !Number.isNaN(number) && !Object.is(number, -0)));
    const delta = weight.map((_, at) => (at % PITCH < COLS ? 0 : NaN));
    const { numbers, ...counts } = await finished(weight, delta, dtype);
    expect(numbers).toEqual(ofRows(weight));
    expect(counts).toEqual({ largest: 0, changed: 0, broken: 2 });
  });
});

test("the largest |ΔW| is found, negative or subnormal, and not in what pads a row", async () => {
  for (const large of [-3, 2 ** -149, Infinity]) {
    const delta = inRows(new Float32Array(COLS * 500));
    delta[499 * PITCH + 36] = large;
    const { largest, changed } = await finished(new Float32Array(delta.length), delta, "F32");
    expect([largest, changed]).toEqual([Math.abs(large), 1]);
  }
});
