/*
 * `bun bench/peers/delta.ts [--rounds 5]`: ΔW by what the bases are stored as, beside numpy's product of f32 matrices of the
 * same sizes on the same cores, by the clock and by processor time. RANDLORA_DEVICE says what computes ours.
 */
import { DeltaTrial } from "../../src/measure/doctor/delta-trial.ts";
import { formatNumber } from "../../src/terminal/format.ts";
import { formatTable } from "../../src/terminal/table.ts";
import { openBenchDevice } from "../device.ts";
import { machine, renderMachine } from "../harness.ts";
import { inRounds, timed } from "../training/rounds.ts";
import { askedRounds, note, openNumpy, Ready, THREADS, Times } from "./numpy.ts";

/** ΔW of a layer of a larger model than the tests': its product has as many flops as memory traffic allows. */
const SHAPE = { out: 1536, in: 1536, r: 32 } as const;
/** By what the bases are, and the least share of numpy's speed. */
const KINDS = [
  ["dense", { generator: "torch-mt19937-bf16-v2", sparsity: "dense" }, 0.8],
  ["sparse", { generator: "torch-mt19937-ternary", sparsity: "sparse" }, 2],
  ["very sparse", { generator: "torch-mt19937-ternary", sparsity: "very-sparse" }, 10],
  ["philox", { generator: "philox-v1", sparsity: "dense" }, undefined],
] as const;
/** Products of one measurement. */
const TIMES = 8;

process.stdout.write(renderMachine(await machine()));
using device = await openBenchDevice();
await using numpy = await openNumpy(SHAPE.out, SHAPE.in, Math.min(SHAPE.out, SHAPE.in));
const { ready } = await numpy.hello(Ready);

using open = new DisposableStack();
const contenders = new Map([["numpy", async () => await numpy.ask(String(TIMES), Times)]]);
let flops = 0;
for (const [name, kind] of KINDS) {
  const trial = open.use(await DeltaTrial.create(device, { ...SHAPE, ...kind }));
  const { correct, maxRelativeError } = await trial.check();
  if (!correct) throw new Error(`ΔW is wrong: ${maxRelativeError} of its largest element off`);
  await trial.run(TIMES); // compiles
  ({ flops } = trial);
  contenders.set(name, () => timed(() => trial.run(TIMES)));
}
const times = await inRounds(contenders, askedRounds(), note);
note("");

const median = (name: string) => times.get(name)?.median ?? { seconds: Number.NaN, coreSeconds: Number.NaN };
const rate = (name: string) => (TIMES * flops) / median(name).seconds / 1e9;
const coreRate = (name: string) => (TIMES * flops) / median(name).coreSeconds / 1e9;
const targets = new Map<string, number | undefined>(KINDS.map(([name, , target]) => [name, target]));
const rows = [...contenders.keys()].map((name) => {
  const ratio = rate(name) / rate("numpy");
  const target = targets.get(name);
  const verdict = target === undefined ? "" : `≥ ${target}: ${ratio >= target ? "met" : "missed"}`;
  const aCore = [formatNumber(coreRate(name), 1), formatNumber(coreRate(name) / coreRate("numpy"), 2)];
  return [name, formatNumber(rate(name), 1), formatNumber(ratio, 2), verdict, ...aCore];
});
process.stdout.write(`${ready}, ${THREADS} threads; ΔW ${SHAPE.out}×${SHAPE.in}, r = ${SHAPE.r}\n\n`);
process.stdout.write(
  formatTable(rows, {
    head: ["bases", "GFLOP/s, as if dense", "of numpy's", "target", "a core", "of numpy's"],
    align: "lrrlrr",
  }),
);
