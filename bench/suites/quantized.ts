import { BLOCKS_NAMES, isBlockDtype, NAMED_BLOCKS, type StoredDtype } from "../../src/compute/device/dtype.ts";
import type { Device } from "../../src/compute/device/device.ts";
import type { Staging } from "../../src/compute/device/staging.ts";
import { Run } from "../../src/compute/tensor/run.ts";
import { type Shape, type Tensor, tensorBytes, type TensorDtype, tensorIn } from "../../src/compute/tensor/tensor.ts";
import type { Suite } from "../suite.ts";

/** A token, a token of each of four sequences, which are in f32 either way, and prompts. */
const ROWS = [1, 4, 32, 512] as const;
/** A layer of the 135M model, and one of a model of 8B. */
const LAYERS = [
  [576, 1536],
  [4096, 4096],
] as const;
/** Work of one run, so that small products do not measure the wait for the device. */
const FLOPS = 2 ** 30;

/** What weights are stored as, by the names of options. */
const FORMATS = [["bf16", "BF16"], ...BLOCKS_NAMES.map((name) => [name, NAMED_BLOCKS[name]] as const)] as const;

/** What `--quantize` computes, and bf16 weights: each way of a device, so that which one it takes can be judged. */
export const quantizedSuite: Suite = {
  name: "quantized",
  title: "normalized rows times stored weights",
  unit: "GFLOP/s",
  async *cases(wanted, open) {
    using device = await open();
    for (const [inner, out] of LAYERS) {
      for (const [format, dtype] of FORMATS) {
        for (const rows of ROWS) {
          for (const [way, staging] of waysOf(device, dtype)) {
            const name = `${rows} × ${inner}→${out} ${format}, ${way}`;
            if (!wanted(name)) continue;
            const x = filled(device, [rows, inner], "F32");
            const weight = filled(device, [out, inner], dtype);
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
function waysOf({ staging }: Device, dtype: StoredDtype): readonly (readonly [name: string, staging: Staging])[] {
  if (!isBlockDtype(dtype)) return [["f32", staging]];
  if (staging.kind === "cpu") return [["whole numbers", staging]];
  return [
    ["f32", { kind: "workgroup" }],
    ["integer", { kind: "workgroup", integerDots: true }],
  ];
}

/** A matrix of ones, or of words of some number: the rate does not depend on the values. */
function filled(device: Device, shape: Shape, dtype: TensorDtype): Tensor {
  const tensor = tensorIn(device.memory.allocate("operand", tensorBytes(shape, dtype)), shape, dtype);
  device.write(tensor.buffer, new Uint32Array(tensor.buffer.size / 4).fill(dtype === "F32" ? 0x3f800000 : 0x21212121));
  return tensor;
}
