import { basesCount, type BasesSpec, drawBases } from "../../src/adapters/frozen/drawing/draw.ts";
import type { StdCache } from "../../src/adapters/files/std-cache.ts";
import { GENERATOR_NAMES } from "../../src/compute/random/names.ts";
import { Mt19937 } from "../../src/compute/random/mt19937.ts";
import { philoxFill, philoxStream } from "../../src/compute/random/philox.ts";
import type { Case, Suite } from "../suite.ts";

const SHAPE = { r: 32, max: 4096, min: 1024 } as const;
const WORDS = 1 << 20;
const TARGET = 60;

const FORGETFUL: StdCache = { get: () => null, set: () => {} };

/** Bases from seed to packed storage: with their standard deviations, or with those known from an earlier run. */
function* drawn(
  generator: BasesSpec["generator"],
  sparsity: BasesSpec["sparsity"],
  wanted: (name: string) => boolean,
): Generator<Case> {
  const { r, max, min } = SHAPE;
  const spec: BasesSpec = { generator, key: 0n, ...SHAPE, sparsity, grid: "bf16" };
  const n = basesCount(min, r);
  const extent = { rows: max, bases: n, cols: min };
  const amount = (r * min + max * n * r) / 1e6;
  const name = sparsity === "dense" ? generator : `${generator}, ${sparsity}`;
  yield { name, amount, target: TARGET, run: () => void drawBases(spec, extent, FORGETFUL) };
  const again = `${name}, std cached`;
  if (!wanted(again)) return;
  const first = drawBases(spec, extent, FORGETFUL);
  if (first.stdA === null || first.stdB === null) return;
  const known = { a: first.stdA, b: first.stdB };
  const knowing: StdCache = { get: () => known, set: () => {} };
  yield {
    name: again,
    amount,
    target: TARGET,
    run: () => void drawBases(spec, extent, knowing),
  };
}

export const drawSuite: Suite = {
  name: "draws",
  title: `bases of ${SHAPE.max} × ${SHAPE.min}, r = ${SHAPE.r}, drawn and packed`,
  unit: "M draws/s",
  async *cases(wanted) {
    const words = new Uint32Array(WORDS);
    const twister = new Mt19937(0n);
    yield { name: "MT19937, bare words", amount: WORDS / 1e6, run: () => twister.draw(words) };
    for (const generator of GENERATOR_NAMES) {
      if (generator === "philox-v1") continue;
      if (generator !== "torch-mt19937-ternary") yield* drawn(generator, "dense", wanted);
      else for (const sparsity of ["sparse", "very-sparse"] as const) yield* drawn(generator, sparsity, wanted);
    }
    // The kernel draws these where it uses them; the CPU only to check (`merge --verify`) or to save them.
    const values = new Float32Array(WORDS);
    for (const sparsity of ["dense", "sparse", "very-sparse"] as const) {
      const stream = philoxStream(0n, 1, sparsity, SHAPE.min);
      yield { name: `philox-v1, ${sparsity}`, amount: WORDS / 1e6, run: () => philoxFill(stream, 0, values) };
    }
  },
};
