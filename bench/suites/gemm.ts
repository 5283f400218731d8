import type { Device } from "../../src/compute/device/device.ts";
import { recordGemm } from "../../src/compute/tensor/gemm.ts";
import { Run } from "../../src/compute/tensor/run.ts";
import { type Shape, type Tensor, tensorBytes, tensorIn } from "../../src/compute/tensor/tensor.ts";
import type { Suite } from "../suite.ts";

/** Tokens, and the layers of the 135M model as in → out. */
const ROWS = [96, 512, 1024] as const;
const LAYERS = [
  [576, 1536],
  [1536, 576],
  [576, 960],
] as const;
const ORDERS = ["NT", "NN", "TN"] as const;
const DTYPES = ["BF16", "F32"] as const;

/** On a software GPU with two cores. */
const TARGET = 40;
/** Work of one run, so that small products do not measure the wait for the GPU. */
const FLOPS = 2 * 1024 ** 3;
/** Of the yardstick's square matrices. */
const YARDSTICK = 256;

/** y (rows, out) = x Wᵀ, and what its backward pass multiplies: dx = dy W, dW = dyᵀ x. */
export const gemmSuite: Suite = {
  name: "gemm",
  title: "the products of a linear layer and its gradients",
  unit: "GFLOP/s",
  async *cases(wanted, open) {
    yield yardstick();
    using gpu = await open();
    for (const order of ORDERS) {
      for (const rows of ROWS) {
        for (const [inner, out] of LAYERS) {
          for (const dtype of DTYPES) {
            const name = `${order} ${rows} × ${inner}→${out} ${dtype}`;
            if (!wanted(name)) continue;
            const [x, w, dy]: readonly Shape[] = [
              [rows, inner],
              [out, inner],
              [rows, out],
            ];
            const [a, b, y] = { NT: [x, w, dy], NN: [dy, w, x], TN: [dy, x, w] }[order];
            if (a === undefined || b === undefined || y === undefined) continue;
            const operands = { a: matrix(gpu, a, "F32"), b: matrix(gpu, b, dtype), y: matrix(gpu, y, "F32") };
            const flops = 2 * rows * inner * out;
            const times = Math.max(1, Math.round(FLOPS / flops));
            yield {
              name,
              amount: (times * flops) / 1e9,
              target: TARGET,
              async run() {
                using run = new Run(gpu);
                for (let i = 0; i < times; i++) recordGemm(run, { order, ...operands });
                await run.submit();
                await gpu.idle();
              },
            };
            for (const { buffer } of Object.values(operands)) gpu.memory.release(buffer);
          }
        }
      }
    }
  },
};

/** What the machine does at this moment with plain JavaScript on one core: quote rates as multiples of it. */
function yardstick() {
  const n = YARDSTICK;
  const [a, b, y] = [0, 1, 2].map(() => new Float32Array(n * n).map((_, at) => Math.sin(at)));
  return {
    name: "yardstick: plain JavaScript, one core",
    amount: (2 * n ** 3) / 1e9,
    run() {
      if (a === undefined || b === undefined || y === undefined) return;
      for (let row = 0; row < n; row++) {
        const sums = new Float32Array(n);
        for (let k = 0; k < n; k++) {
          const factor = a[row * n + k] ?? 0;
          for (let col = 0; col < n; col++) sums[col] = (sums[col] ?? 0) + factor * (b[k * n + col] ?? 0);
        }
        y.set(sums, row * n);
      }
    },
  };
}

/** A matrix of ones: the rate does not depend on the values. */
function matrix(gpu: Device, shape: Shape, dtype: (typeof DTYPES)[number]): Tensor {
  const tensor = tensorIn(gpu.memory.allocate("operand", tensorBytes(shape, dtype)), shape, dtype);
  gpu.write(tensor.buffer, new Uint32Array(tensor.buffer.size / 4).fill(dtype === "F32" ? 0x3f800000 : 0x3f803f80));
  return tensor;
}
