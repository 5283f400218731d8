import { afterAll, beforeAll, expect, test } from "bun:test";
import { DeltaBases } from "../../../adapters/delta/scaled-bases/delta.ts";
import { randloraShape } from "../../../adapters/randlora/plan.ts";
import { basesFor, placed, STORED, type Stored } from "../../../adapters/testing/bases.ts";
import type { DeviceBuffer } from "../../device/buffer.ts";
import { padded4 } from "../../device/families/delta.ts";
import { read, uploaded } from "../../device/transfer.ts";
import { Run } from "../../tensor/run.ts";
import { CpuDevice } from "../cpu.ts";

const THREADS = [1, 3] as const;
let devices: readonly CpuDevice[] = [];
beforeAll(async () => {
  devices = await Promise.all(THREADS.map((threads) => CpuDevice.open({ threads })));
});
afterAll(() => devices.forEach((device) => device.close()));

/** The same numbers for each device. */
function numbers(count: number, seed: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: count }, (_, at) => Math.sin(at * 1.7 + seed));
}

/** Expects the bytes that one thread leaves in these buffers from every number of them. */
async function sameBytes(compute: (device: CpuDevice, run: Run) => Promise<readonly DeviceBuffer[]>): Promise<void> {
  const results = [];
  for (const device of devices) {
    using run = new Run(device);
    const buffers = await compute(device, run);
    await run.submit();
    const bytes = [];
    for (const buffer of buffers) bytes.push(await read(device, buffer));
    results.push(bytes);
  }
  const [one, ...more] = results;
  expect(one?.every((bytes) => bytes.some((byte) => byte !== 0))).toBe(true);
  for (const bytes of more) expect(bytes).toEqual(one ?? []);
}

const SHAPE = randloraShape(301, 130, 7);
const KINDS = Object.keys(STORED) as Stored[];

test.each(KINDS)("ΔW has the same bits with any number of threads: %s", async (stored) => {
  const { bases: n, r, cols, rows } = SHAPE;
  const drawn = basesFor(stored, [SHAPE]);
  for (const weightIsTransposed of [false, true]) {
    await sameBytes(async (device, run) => {
      const bases = await DeltaBases.create(device, drawn, "peft");
      const parameters = { lambda: numbers(r * n, 1), gamma: numbers(n * cols, 2) };
      const layer = bases.layer({ shape: SHAPE, weightIsTransposed, scale: 0.5, ...parameters });
      const [height, width] = weightIsTransposed ? [cols, rows] : [rows, cols];
      const pitch = padded4(width);
      const target = device.memory.allocate("ΔW", height * pitch * 4);
      bases.form(run, layer, { firstRow: 0, rows: height, target, pitch });
      return [target];
    });
  }
});

test.each(["ternary", "bf16"] as const)("gradients of λ and γ have the same bits: %s", async (stored) => {
  const { rows, terms, cols, bases: n, r } = SHAPE;
  const drawn = basesFor(stored, [SHAPE]);
  await sameBytes(async (device, run) => {
    const { b } = await DeltaBases.create(device, drawn, "peft");
    const bytes = device.scratchBytes("basisGradient", SHAPE);
    const [lambdaGradient, gammaGradient] = [placed(device, [r, n], []), placed(device, [n, cols], [])];
    run.compute("basisGradient", {
      shape: SHAPE,
      pairing: "peft",
      left:
        stored === "ternary"
          ? { basis: b, first: 0, shape: [rows, terms] }
          : { shape: [rows, terms], dtype: "BF16", buffer: b.buffer, offset: 0, pitch: b.stride },
      right: placed(device, [rows, cols], numbers(rows * cols, 3)),
      scale: 1,
      a: placed(device, [r, cols], numbers(r * cols, 4)),
      lambda: placed(device, [r, n], numbers(r * n, 5)),
      gamma: placed(device, [n, cols], numbers(n * cols, 6)),
      lambdaGradient,
      gammaGradient,
      lambdaParts: device.memory.allocate("λ parts", bytes.lambdaParts),
      gammaParts: device.memory.allocate("γ parts", bytes.gammaParts),
    });
    return [lambdaGradient.buffer, gammaGradient.buffer];
  });
});

test("merged weights and their statistics have the same bits", async () => {
  const [rows, cols] = [211, 301];
  const pitch = padded4(cols);
  await sameBytes(async (device, run) => {
    const { statistics: size } = device.scratchBytes("finish", { rows, cols });
    const target = { buffer: device.memory.allocate("W'", rows * pitch * 2), dtype: "BF16" } as const;
    const statistics = device.memory.allocate("statistics", size);
    const weight = { buffer: uploaded(device, "W", numbers(rows * pitch, 7)), dtype: "F32" } as const;
    const delta = uploaded(device, "ΔW", numbers(rows * pitch, 8));
    run.compute("finish", { rows, cols, pitch, weight, delta, target, statistics });
    return [target.buffer, statistics];
  });
});

test("the norm of all gradients has the same bits", async () => {
  await sameBytes(async (device, run) => {
    const state = uploaded(device, "state", new Float32Array(4));
    const gradients = [70_016, 64].map((size) => ({ buffer: uploaded(device, "gradient", numbers(size, 9)), size }));
    run.compute("gradientNorm", { gradients, clip: 1, state });
    return [state];
  });
});

test("sums over PRANC's bases, and their gradients, have the same bits", async () => {
  const [out, input, bases] = [67, 131, 300];
  const layer = { out, in: input, offset: 2 ** 32 - 1000, scale: 0.1 };
  const key = [5, 6] as const;
  await sameBytes(async (device, run) => {
    const pitch = padded4(input);
    const target = device.memory.allocate("ΔW", out * pitch * 4);
    const coefficients = placed(device, [1, bases], numbers(bases, 10));
    const block = { firstRow: 0, rows: out, target, pitch };
    run.compute("thetaDelta", { layer, key, coefficients, transposed: false, block });
    const gradient = placed(device, [1, bases], []);
    const parts = device.memory.allocate("parts", device.scratchBytes("thetaGradient", { bases }).parts);
    const g = placed(device, [out, input], numbers(out * input, 11));
    run.compute("thetaGradient", { layer, key, g, target: gradient, parts });
    return [target, gradient.buffer];
  });
});
