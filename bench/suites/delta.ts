import { DeltaTrial } from "../../src/measure/doctor/delta-trial.ts";
import type { Suite } from "../suite.ts";

/** The square and both oblong layers of the 135M model, and one that is long enough for peak speed. */
const SHAPES = [
  { out: 576, in: 576, r: 16 },
  { out: 1536, in: 576, r: 16 },
  { out: 576, in: 1536, r: 16 },
  { out: 1024, in: 1024, r: 32 },
] as const;

const KINDS = [
  { storage: "bf16", generator: "torch-mt19937-bf16-v2", sparsity: "dense" },
  { storage: "f32", generator: "torch-mt19937-f32", sparsity: "dense" },
  { storage: "ternary", generator: "torch-mt19937-ternary", sparsity: "sparse" },
  { storage: "philox", generator: "philox-v1", sparsity: "dense" },
  { storage: "philox in bf16", generator: "philox-v1", sparsity: "dense", grid: "bf16" },
] as const;

/** Of a 1024² product, on two cores. */
const TARGET = 40;
/** Work of one run, so that small layers do not measure the wait for the GPU. */
const FLOPS = 2 * 1024 ** 3;

export const deltaSuite: Suite = {
  name: "delta",
  title: "ΔW in f32, by what the bases are stored as",
  unit: "GFLOP/s",
  async *cases(wanted, open) {
    using gpu = await open();
    for (const shape of SHAPES) {
      for (const kind of KINDS) {
        const name = `${shape.out}×${shape.in} ${kind.storage}`;
        if (!wanted(name)) continue;
        using trial = await DeltaTrial.create(gpu, { ...shape, ...kind });
        const { correct, maxRelativeError } = await trial.check();
        if (!correct) throw new Error(`ΔW is wrong: ${maxRelativeError} of its largest element off`);
        const times = Math.max(1, Math.round(FLOPS / trial.flops));
        const aimed = shape.out === 1024 && kind.generator !== "philox-v1";
        yield {
          name,
          amount: (times * trial.flops) / 1e9,
          ...(aimed ? { target: TARGET } : {}),
          run: () => trial.run(times),
        };
      }
    }
  },
};
