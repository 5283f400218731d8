// What methods with equally many parameters can be: each is fitted to random matrices of full rank whose singular values are
// equal, those of a random matrix, or fall as 1/i. Writes docs/fit.svg and docs/fit.json and prints a table.
//
//   bun bench/fit.ts [--size 256] [--steps 250]
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { nearestSize } from "../src/adapters/budget.ts";
import { isAdapterMethod, METHODS } from "../src/adapters/methods.ts";
import { fitMethod } from "../src/adapters/testing/fit.ts";
import { fitTarget, SPECTRA } from "../src/adapters/testing/fit-targets.ts";
import type { AdapterSettings } from "../src/adapters/method/settings.ts";
import { singularValueSteps } from "../src/adapters/svd/singular-values.ts";
import { finishSteps } from "../src/adapters/frozen/drawing/bases.ts";
import { openBenchDevice } from "./device.ts";
import { formatTable } from "../src/terminal/table.ts";
import { type FitPoint, fitSvg } from "./fit-svg.ts";

const { values } = parseArgs({ options: { size: { type: "string" }, steps: { type: "string" } } });
const size = Number(values.size ?? 256);
const steps = Number(values.steps ?? 250);

/** LoRA's ranks, whose numbers every method gets. */
const RANKS = [4, 8, 16, 32];
/** The best of them counts, for each method: no method is fitted with another's. */
const RATES = [0.03, 0.1];
/** As in `randlora compare`. */
const MOST_BASES = 1024;

type Given = Partial<AdapterSettings> & Readonly<Record<string, unknown>>;
const CONTENDERS: readonly (readonly [name: string, method: string, given: Given])[] = [
  ["LoRA", "lora", {}],
  ["RandLoRA", "randlora", {}],
  ["RandLoRA sparse", "randlora", { sparsity: "sparse" }],
  ["half-rank", "randlora", { variant: "half-rank" }],
  ["rank-r", "randlora", { variant: "rank-r" }],
  ["DoRA", "dora", {}],
  ["VeRA", "vera", {}],
  ["NoLA", "nola", {}],
  ["PRANC", "pranc", {}],
];

const gpu = await openBenchDevice();
const points: FitPoint[] = [];
const modules = [{ out: size, in: size }];
for (const spectrum of SPECTRA) {
  const target = fitTarget(spectrum, size);
  const singular = finishSteps(singularValueSteps({ rows: size, cols: size, data: target }));
  const all = singular.reduce((sum, value) => sum + value * value, 0);
  for (const rank of RANKS) {
    const budget = rank * 2 * size;
    const beyond = singular.subarray(rank).reduce((sum, value) => sum + value * value, 0);
    points.push({ spectrum, name: "bound", budget, parameters: budget, error: beyond / all });
    for (const [name, of, given] of CONTENDERS) {
      const method = METHODS.filter(isAdapterMethod).find((one) => one.name === of);
      if (method === undefined) throw new RangeError(of);
      const { capacity } = method.training;
      const most = capacity.setting === "bases" ? MOST_BASES : Infinity;
      const { value, parameters } = nearestSize(capacity, modules, budget, given, most);
      // What is a quarter off is no equal.
      if (Math.abs(parameters / budget - 1) > 0.25) continue;
      let error = Infinity;
      for (const learningRate of RATES) {
        const problem = { size, target, steps, learningRate, seed: 0 };
        const fit = await fitMethod(gpu, method, { ...given, [capacity.setting]: value }, problem);
        error = Math.min(error, fit.error);
      }
      points.push({ spectrum, name, budget, parameters, error });
      process.stderr.write(`${spectrum}, ${budget} numbers: ${name} ${error.toFixed(4)}\n`);
    }
  }
}
await gpu.close();

const docs = join(import.meta.dir, "../docs");
await writeFile(join(docs, "fit.svg"), fitSvg(points, size));
await writeFile(join(docs, "fit.json"), `${JSON.stringify({ size, steps, rates: RATES, points }, undefined, 1)}\n`);
const names = ["bound", ...CONTENDERS.map(([name]) => name)];
const errorOf = (spectrum: string, budget: number, name: string) =>
  points.find((point) => point.spectrum === spectrum && point.budget === budget && point.name === name)?.error;
const rows = SPECTRA.flatMap((spectrum) =>
  RANKS.map((rank) => {
    const errors = names.map((name) => errorOf(spectrum, rank * 2 * size, name)?.toFixed(4) ?? "–");
    return [spectrum, String(rank * 2 * size), ...errors];
  }),
);
const head = ["singular values", "numbers", "rank's bound", ...names.slice(1)];
process.stdout.write(formatTable(rows, { head, align: `lr${"r".repeat(names.length)}` }));
