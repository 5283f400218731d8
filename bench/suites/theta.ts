import { prancDeltas } from "../../src/adapters/pranc/plan.ts";
import { UNREAD, unreadRows } from "../../src/adapters/testing/weights.ts";
import { ownedBy } from "../../src/compute/device/owned.ts";
import { read } from "../../src/compute/device/transfer.ts";
import { philoxKey } from "../../src/compute/random/philox.ts";
import { Run } from "../../src/compute/tensor/run.ts";
import { tensorBytes, tensorIn } from "../../src/compute/tensor/tensor.ts";
import type { Suite } from "../suite.ts";

/** Layers of the 135M model and of the embedded one, whose rows end within a block of 16. */
const SHAPES = [
  [576, 1536],
  [128, 344],
] as const;
const BASES = 256;
/** Draws of one run, so that small layers do not measure the wait for the GPU. */
const DRAWS = 2 ** 28;
/** Largest share of max |ΔW| that an element may be off. */
const TOLERANCE = 2e-6;

export const thetaSuite: Suite = {
  name: "theta",
  title: `sums of ${BASES} random networks that are drawn as they are added up (PRANC), and their gradients`,
  unit: "G draws/s",
  async *cases(wanted, open) {
    using gpu = await open();
    const alpha = Float32Array.from({ length: BASES }, (_, i) => Math.sin(i));
    const key = philoxKey(0n);
    for (const [out, input] of SHAPES) {
      const times = Math.max(1, Math.round(DRAWS / (out * input * BASES)));
      const amount = (times * out * input * BASES) / 1e9;
      const layer = { out, in: input, offset: 0, scale: 1 };
      const target = tensorIn(gpu.memory.allocate("ΔW", tensorBytes([out, input], "F32")), [out, input], "F32");
      const named = { shape: [], tensor: "", source: "", dtype: "F32", module: "", conv1d: false } as const;
      const source = prancDeltas([{ ...named, ...layer }], alpha, key);
      const owner = new DisposableStack();
      const deltas = await source.upload(ownedBy(owner, gpu));
      const delta = await deltas.layer(0, 1, UNREAD);
      const { buffer, pitch } = target;
      const block = { firstRow: 0, rows: out, target: buffer, pitch, ...unreadRows(buffer, input) };
      const sum = async (count: number) => {
        using run = new Run(gpu);
        for (let i = 0; i < count; i++) delta.form(run, block);
        await run.submit();
        await gpu.idle();
      };
      await sum(1);
      const cols = Array.from({ length: input }, (_, col) => col);
      const want = await source.reference(0, 1, { rows: [out - 1], cols }, UNREAD);
      const found = new Float32Array((await read(gpu, target.buffer)).buffer).subarray((out - 1) * target.pitch);
      const largest = want.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      if (!want.every((value, at) => Math.abs((found[at] ?? NaN) - value) <= TOLERANCE * largest)) {
        throw new Error(`ΔW of ${out}×${input} is wrong`);
      }
      yield { name: `ΔW ${out}×${input}`, amount, run: () => sum(times) };
      const name = `gradient ${out}×${input}`;
      if (wanted(name)) {
        const gradient = tensorIn(gpu.memory.allocate("∂α", BASES * 4), [1, BASES], "F32");
        const parts = gpu.memory.allocate("parts", gpu.scratchBytes("thetaGradient", { bases: BASES }).parts);
        yield {
          name,
          amount,
          async run() {
            using run = new Run(gpu);
            for (let i = 0; i < times; i++) {
              run.compute("thetaGradient", { layer, key, g: target, target: gradient, parts });
            }
            await run.submit();
            await gpu.idle();
          },
        };
        for (const buffer of [gradient.buffer, parts]) gpu.memory.release(buffer);
      }
      owner.dispose();
      gpu.memory.release(target.buffer);
    }
  },
};
