/*
 * `bun bench/peers/linear.ts [--rounds 5]`: x Wᵀ of 512 rows, of the 135M model's layers in f32 and in bf16, beside numpy's product of
 * f32 matrices of the same sizes on the same cores, by the clock and by processor time. RANDLORA_DEVICE says what computes ours.
 */
import { gemmSuite } from "../suites/gemm.ts";
import { formatNumber } from "../../src/terminal/format.ts";
import { formatTable } from "../../src/terminal/table.ts";
import { openBenchDevice } from "../device.ts";
import { machine, renderMachine } from "../harness.ts";
import { inRounds, ratios, timed } from "../training/rounds.ts";
import { askedRounds, note, openNumpy, Ready, THREADS, Times } from "./numpy.ts";

/** Least share of numpy's speed. */
const LEAST = 0.8;
/** Cases of the suite: products of as many rows as a prompt's pass has. */
const CASES = /^NT (512) × (\d+)→(\d+)/u;
/** Numpy's products of one measurement. */
const TIMES = 32;
/** Ours, of 1.8 GFLOP each. Both compute as many before, untimed: the other's threads wait busily for a while when they have nothing to do. */
const TURNS = 20;

process.stdout.write(renderMachine(await machine()));
const rows: string[][] = [];
let peer = "";
for await (const { name, amount, run } of gemmSuite.cases((name) => CASES.test(name), openBenchDevice)) {
  const sizes = CASES.exec(name)?.slice(1).map(Number);
  if (sizes === undefined) continue;
  const [m = 0, k = 0, n = 0] = sizes;
  await using numpy = await openNumpy(m, n, k);
  ({ ready: peer } = await numpy.hello(Ready));
  const contenders = new Map([
    [
      "numpy",
      async () => {
        await numpy.ask(String(TIMES), Times);
        return await numpy.ask(String(TIMES), Times);
      },
    ],
    [
      "ours",
      async () => {
        for (let i = 0; i < TURNS; i++) await run();
        return await timed(async () => {
          for (let i = 0; i < TURNS; i++) await run();
        });
      },
    ],
  ]);
  const times = await inRounds(contenders, askedRounds(), (line) => note(`${name}: ${line}`));
  const [theirs, ours] = [times.get("numpy"), times.get("ours")];
  if (theirs === undefined || ours === undefined) continue;
  const [other, own] = [(TIMES * 2 * m * n * k) / 1e9, TURNS * amount];
  const { seconds, coreSeconds } = ratios(theirs, ours);
  const [share, aCore] = [(own / other) * seconds, (own / other) * coreSeconds];
  rows.push([
    name,
    formatNumber(other / theirs.median.seconds, 1),
    formatNumber(own / ours.median.seconds, 1),
    formatNumber(share, 2),
    `≥ ${LEAST}: ${share >= LEAST ? "met" : "missed"}`,
    formatNumber(own / ours.median.coreSeconds, 1),
    formatNumber(aCore, 2),
  ]);
}
note("");
process.stdout.write(`${peer}, ${THREADS} threads\n\n`);
const head = ["GFLOP/s", "numpy", "ours", "of numpy's", "target", "a core", "of numpy's"];
process.stdout.write(formatTable(rows, { head, align: "lrrrlrr" }));
