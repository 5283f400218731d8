import { BLOCKS_NAMES, NAMED_BLOCKS } from "../../src/compute/device/dtype.ts";
import type { Device } from "../../src/compute/device/device.ts";
import type { Staging } from "../../src/compute/device/staging.ts";
import { Run } from "../../src/compute/tensor/run.ts";
import { type Shape, type Tensor, tensorBytes, type TensorDtype, tensorIn } from "../../src/compute/tensor/tensor.ts";
import { openBenchDevice } from "../device.ts";
import type { Suite } from "../harness.ts";

/** A token, a token of each of four sequences, which are in f32 either way, and prompts. */
const ROWS = [1, 4, 32, 512] as const;
/** A layer of the 135M model, and one of a model of 8B. */
const LAYERS = [
  [576, 1536],
  [4096, 4096],
] as const;
/** Work of one run, so that small products do not measure the wait for the device. */
const FLOPS = 2 ** 30;

/** What `--quantize` computes: each way of a device, so that which one it takes can be judged. */
export const quantizedSuite: Suite = {
  name: "quantized",
  title: "normalized rows times quantized weights",
  unit: "GFLOP/s",
  async *cases(wanted) {
    using device = await openBenchDevice();
    for (const [inner, out] of LAYERS) {
      for (const format of BLOCKS_NAMES) {
        for (const rows of ROWS) {
          for (const [way, staging] of waysOf(device)) {
            const name = `${rows} × ${inner}→${out} ${format}, ${way}`;
            if (!wanted(name)) continue;
            const x = filled(device, [rows, inner], "F32");
            const weight = filled(device, [out, inner], NAMED_BLOCKS[format]);
            const norm = { weight: filled(device, [1, inner], "F32"), epsilon: 1e-5, offset: 0, branch: undefined };
            const y = filled(device, [rows, out], "F32");
            const flops = 2 * rows * inner * out;
            const times = Math.max(1, Math.round(FLOPS / flops));
            yield {
              name,
              amount: (times * flops) / 1e9,
              async run() {
                using run = new Run(device, staging);
                for (let i = 0; i < times; i++) {
                  run.compute("normedLinear", { x, norm, weight, bias: undefined, gate: undefined, y });
                }
                await run.submit();
                await device.idle();
              },
            };
            for (const { buffer } of [x, weight, norm.weight, y]) device.memory.release(buffer);
          }
        }
      }
    }
  },
};

/** A GPU computes in f32 or with integer dot products. */
function waysOf({ staging }: Device): readonly (readonly [name: string, staging: Staging])[] {
  if (staging.kind === "cpu") return [["whole numbers", staging]];
  return [
    ["f32", { kind: "workgroup" }],
    ["integer", { kind: "workgroup", integerDots: true }],
  ];
}

/** A matrix of ones, or of blocks of some number: the rate does not depend on the values. */
function filled(device: Device, shape: Shape, dtype: TensorDtype): Tensor {
  const tensor = tensorIn(device.memory.allocate("operand", tensorBytes(shape, dtype)), shape, dtype);
  device.write(tensor.buffer, new Uint32Array(tensor.buffer.size / 4).fill(dtype === "F32" ? 0x3f800000 : 0x21212121));
  return tensor;
}
