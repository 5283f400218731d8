import type { Device } from "../../src/compute/device/device.ts";
import { OPS } from "../../src/compute/tensor/ops/index.ts";
import { Run } from "../../src/compute/tensor/run.ts";
import { type Shape, type Tensor, tensorBytes, tensorIn } from "../../src/compute/tensor/tensor.ts";
import type { Suite } from "../suite.ts";

/** A layer of Qwen 3.5 0.8B and 2B. */
const [HEADS, SIZE] = [16, 128];
const TOKENS = [512, 2048];

const ONE = "one token behind others";

function filledOn(device: Device, shape: Shape, size: number): Tensor {
  const tensor = tensorIn(device.memory.allocate("operand", tensorBytes(shape, "F32")), shape, "F32");
  const numbers = Float32Array.from({ length: shape[0] * tensor.pitch }, () => size * (Math.random() - 0.5));
  device.write(tensor.buffer, numbers);
  return tensor;
}

function inputsOn(device: Device, tokens: number) {
  return {
    qk: filledOn(device, [tokens, 2 * HEADS * SIZE], 0.3),
    v: filledOn(device, [tokens, HEADS * SIZE], 2),
    gates: filledOn(device, [tokens, 2 * HEADS], 6),
    decays: filledOn(device, [1, 2 * HEADS], 2),
    first: undefined,
  };
}

/** A token's step in a layer, so many times as there are layers in a model, or about. */
async function* oneToken(device: Device) {
  using run = new Run(device);
  const states = filledOn(device, [1, HEADS * SIZE * SIZE], 0.1);
  const operands = { ...inputsOn(device, 1), rows: undefined, firstPosition: 100, keyHeads: HEADS, block: 256, states };
  const y = filledOn(device, [1, HEADS * SIZE], 0);
  const layers = 20;
  yield {
    name: ONE,
    amount: layers / 1000,
    run: async () => {
      for (let layer = 0; layer < layers; layer++) run.compute("gatedDelta", { ...operands, y });
      await run.submit();
      await device.idle();
    },
  };
}

export const gatedDeltaSuite: Suite = {
  name: "gated-delta",
  title: "gated delta rule of 16 heads, keys and values of 128",
  unit: "k tokens/s",
  async *cases(wanted, open) {
    using device = await open();
    if (wanted(ONE)) yield* oneToken(device);
    for (const tokens of TOKENS) {
      const names = ["forward", "backward", "products of such a layer"].map((what) => `${what}, ${tokens} tokens`);
      const [forward = "", backward = "", products = ""] = names;
      if (!names.some(wanted)) continue;
      using run = new Run(device);
      const filled = (shape: Shape, size: number) => filledOn(device, shape, size);
      const amount = tokens / 1000;
      const sent = (record: () => void) => async () => {
        record();
        await run.submit();
        await device.idle();
      };
      const width = HEADS * SIZE;
      const inputs = inputsOn(device, tokens);
      const [y, dy] = [filled([tokens, width], 0), filled([tokens, width], 2)];
      const attributes = { keyHeads: HEADS };
      yield { name: forward, amount, run: sent(() => void run.apply(OPS.gatedDelta, inputs, attributes, { y })) };
      const { derivative } = OPS.gatedDelta;
      if (derivative === "constant") throw new TypeError("a rule without gradients");
      const into = { qk: filled(inputs.qk.shape, 0), v: filled([tokens, width], 0), gates: filled([tokens, 32], 0) };
      const pass = { inputs: { ...inputs }, outputs: { y }, gradients: { y: dy }, into };
      yield { name: backward, amount, run: sent(() => derivative.backward(run, pass, attributes)) };
      // Of 1,024 numbers a token: projections into the rule and out of it, and an MLP.
      const matrices = [
        [8224, 1024],
        [1024, 2048],
        [7168, 1024],
        [1024, 3584],
      ].map(([rows = 0, cols = 0]) => ({
        x: filled([tokens, cols], 2),
        weight: filled([rows, cols], 0.1),
        y: filled([tokens, rows], 0),
      }));
      const plain = { bias: undefined, residual: undefined, scale: 1 };
      yield {
        name: products,
        amount,
        run: sent(() => matrices.forEach((operands) => run.compute("linear", { ...operands, ...plain }))),
      };
    }
  },
};
