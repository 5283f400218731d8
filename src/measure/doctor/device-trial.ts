import { type DeltaCheck, compare, spread } from "./delta-trial.ts";
import type { Device } from "../../compute/device/device.ts";
import { read, uploaded } from "../../compute/device/transfer.ts";
import { bf16ToF32, f32ToBf16 } from "../../files/safetensors/numbers.ts";
import { OPS } from "../../compute/tensor/ops/index.ts";
import { Run } from "../../compute/tensor/run.ts";
import { type Shape, tensorBytes, tensorIn } from "../../compute/tensor/tensor.ts";

/** y = x · Wᵀ: rows of x, rows of W, terms of each sum. */
export interface ProductShape {
  readonly rows: number;
  readonly cols: number;
  readonly terms: number;
}

/** A product on a device: whether it is right, and how fast. */
export interface ProductTrial extends ProductShape, DeltaCheck {
  /** The shortest of some. */
  readonly seconds: number;
  readonly gflops: number;
  /** 10⁹ bytes of W a second. */
  readonly gigabytes: number;
}

/** What training and prompts are made of. */
export const PRODUCT: ProductShape = { rows: 512, cols: 1024, terms: 1024 };
/** What writing a token is made of; W is larger than caches. */
export const VECTOR_PRODUCT: ProductShape = { rows: 1, cols: 8192, terms: 2048 };

const TIMES = 5;

/** One product with bf16 weights, checked against double precision, and its speed. @throws RandloraError */
export async function tryProduct(device: Device, shape: ProductShape): Promise<ProductTrial> {
  const { rows, cols, terms } = shape;
  const x = repeated(new Float32Array(rows * terms).map((_, at) => (at < PERIOD ? wave(at) : 0)));
  const weight = repeated(new Uint16Array(cols * terms).map((_, at) => (at < PERIOD ? f32ToBf16(wave(at + 0.5)) : 0)));
  const held = [uploaded(device, "x", x), uploaded(device, "W", weight)] as const;
  const y = device.memory.allocate("y", tensorBytes([rows, cols], "F32"));
  const once = async (): Promise<number> => {
    const operands = {
      x: tensorIn(held[0], [rows, terms], "F32"),
      weight: tensorIn(held[1], [cols, terms], "BF16"),
      bias: undefined,
      residual: undefined,
    };
    using run = new Run(device);
    run.apply(OPS.linear, operands, {}, { y: tensorIn(y, [rows, cols] satisfies Shape, "F32") });
    const begun = performance.now();
    await run.submit();
    await device.idle();
    return (performance.now() - begun) / 1000;
  };
  try {
    await once();
    const times: number[] = [];
    for (let at = 0; at < TIMES; at++) times.push(await once());
    const seconds = Math.min(...times);
    const found = new Float32Array((await read(device, y)).buffer);
    const places = spread(rows).flatMap((row) => spread(cols).map((col) => [row, col] as const));
    const wanted = Float64Array.from(places, ([row, col]) => {
      let sum = 0;
      for (let at = 0; at < terms; at++) sum += (x[row * terms + at] ?? NaN) * bf16ToF32(weight[col * terms + at] ?? 0);
      return sum;
    });
    const check = compare(
      places.map(([row, col]) => found[row * cols + col] ?? NaN),
      wanted,
    );
    const correct = check.correct && found.every(Number.isFinite);
    const [gflops, gigabytes] = [2 * rows * cols * terms, 2 * cols * terms].map((work) => work / seconds / 1e9);
    return { ...shape, ...check, correct, seconds, gflops: gflops ?? 0, gigabytes: gigabytes ?? 0 };
  } finally {
    for (const buffer of [...held, y]) device.memory.release(buffer);
  }
}

/** Numbers of either sign. Longer lists repeat them, not at the lengths of rows: they are made quickly. */
const PERIOD = 65_537;

function wave(at: number): number {
  return Math.sin(at * 1.7);
}

/** Fills what follows the first numbers with them. */
function repeated<T extends Float32Array | Uint16Array>(values: T): T {
  for (let end = PERIOD; end < values.length; end *= 2) values.copyWithin(end, 0, end);
  return values;
}
