import { formatMeasure } from "../../../terminal/format.ts";
import { DeltaTrial, type DeltaTrialSpec } from "../delta-trial.ts";
import type { Check } from "./check.ts";

/** Wide, tall and square layers whose rows and columns end within tiles; one of several tiles. */
const SHAPES = [
  { out: 96, in: 80, r: 6 },
  { out: 40, in: 132, r: 6 },
  { out: 2, in: 37, r: 2 },
  { out: 300, in: 300, r: 16 },
] as const;

/** What bases are stored as, and what makes them so. */
const FORMATS: readonly (readonly [format: string, bases: Omit<DeltaTrialSpec, "out" | "in" | "r">])[] = [
  ["bases BF16", { generator: "torch-mt19937-bf16-v2", sparsity: "dense" }],
  ["bases F32", { generator: "torch-mt19937-f32", sparsity: "dense" }],
  ["bases sparse", { generator: "torch-mt19937-ternary", sparsity: "sparse" }],
  ["bases very sparse", { generator: "torch-mt19937-ternary", sparsity: "very-sparse" }],
  ["bases philox", { generator: "philox-v1", sparsity: "dense" }],
  ["bases philox, BF16", { generator: "philox-v1", sparsity: "dense", grid: "bf16" }],
];

/** ΔW of RandLoRA as a merge computes it, by what the bases are stored as. */
export function deltaChecks(): Check[] {
  return FORMATS.flatMap(([format, bases]) =>
    SHAPES.map((shape) => ({
      op: "ΔW",
      format,
      size: `${shape.out}×${shape.in}, r = ${shape.r}`,
      async run(devices) {
        using trial = await DeltaTrial.create(await devices.get(), { ...shape, ...bases });
        const { correct, maxRelativeError } = await trial.check();
        return { wrong: correct ? undefined : `differs by ${formatMeasure(maxRelativeError)} of the largest element` };
      },
    })),
  );
}
