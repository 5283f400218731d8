/*
 * `bun bench/card-model.ts [--card 4090] [WORD…]`: the least that kernels, and passes of models, would take on a card that nobody
 * has here. The interpreter of shaders counts what a sample of workgroups asks for, and published figures (bench/cards.ts) say how
 * long that takes. A word keeps the cases that contain it. A row is a kernel on one size.
 *
 *   --card NAME   4090, 7900xtx, b580, m2 or igpu (default: 4090)
 *
 * sectors: those of 32 bytes that warps touch in the binding where that is worst, as a multiple of those that would hold what
 * they ask for. banks: cycles of workgroup
 * memory, as a multiple of those without conflicts. fma: their part of all operations, and of the time that threads wait for
 * others of their warp. ×: the bound as a multiple of the time of multiply-adds alone, or of each byte read and written once.
 */
import { parseArgs } from "node:util";
import { formatNumber } from "../src/terminal/format.ts";
import { formatTable } from "../src/terminal/table.ts";
import { CARD_CASES, FEW_ROWS } from "./card-cases.ts";
import { boundOf, CARDS } from "./cards.ts";
import { type Recorded, RecordedGpu } from "./recorded-gpu.ts";

const { values, positionals } = parseArgs({
  options: { card: { type: "string", default: "4090" } },
  allowPositionals: true,
});
const [, card] = Object.entries(CARDS).find(([name]) => name === values.card) ?? [];
if (card === undefined) throw new RangeError(`--card is one of ${Object.keys(CARDS).join(", ")}`);
const peak = (2 * card.units * card.lanes * card.ghz) / 1000;
process.stdout.write(`${card.name}: ${formatNumber(peak, 1)} TFLOP/s, ${formatNumber(card.memory)} GB/s\n`);

/** Dispatches of what is no pass. */
const FEW = 8;
const HEAD = ["kernel", "times", "workgroups", "sectors", "banks", "fma", "µs", "binds", "×"];

function rowOf({ kernel, workgroups, counts, times }: Recorded): { readonly all: number; readonly cells: string[] } {
  const { worst, shared, operations, slots } = counts;
  const { microseconds, binds, ideal } = boundOf(counts, card ?? CARDS["4090"]);
  const sectors = worst === undefined ? "" : `${worst.name} ${formatNumber(worst.ratio, 2)}`;
  const banks = shared.needed === 0 ? "" : formatNumber(shared.taken / shared.needed, 2);
  const fma = `${formatNumber((100 * operations.fma) / slots)} %`;
  const bound = [formatNumber(microseconds, 1), binds, formatNumber(microseconds / ideal, 1)];
  const size = workgroups.filter((along) => along > 1).join(" × ");
  const cells = [kernel, `${times}`, size, sectors, banks, fma, ...bound];
  return { all: times * microseconds, cells };
}

const sums = new Map<string, number>();
for (const { name, record } of CARD_CASES) {
  if (positionals.length > 0 && !positionals.some((word) => name.includes(word))) continue;
  const recorded = new RecordedGpu(card.integerDots);
  const { dispatches, passes, submissions, bytesWritten, bytesRead } = await record(recorded);
  recorded.gpu.close();
  const rows = dispatches.map(rowOf).toSorted((left, right) => right.all - left.all);
  const sum = rows.reduce((total, { all }) => total + all, 0);
  const count = dispatches.reduce((total, { times }) => total + times, 0);
  sums.set(name, sum);
  process.stdout.write(`\n${name}: ${formatNumber(sum, 1)} µs\n`);
  if (count > FEW) {
    const [least, most] = card.dispatch.map((cost) => formatNumber(cost * count));
    const bytes = `${formatNumber(bytesWritten)} bytes written, ${formatNumber(bytesRead)} read back`;
    const asked = `${count} dispatches, ${passes} passes, ${submissions} submissions, ${bytes}`;
    process.stdout.write(`${asked}; ${least} to ${most} µs were each dispatch submitted alone\n`);
  }
  process.stdout.write(
    formatTable(
      rows.map(({ cells }) => cells),
      { head: HEAD, align: "lrrrrrrlr" },
    ),
  );
}

// What others measured (gradium-ai/xn#71): a product of 16 rows at 66 GFLOP/s, of 128 at 586, since few rows leave units idle.
const few = sums.get(FEW_ROWS.few);
const many = sums.get(FEW_ROWS.many);
if (few !== undefined && many !== undefined) {
  const measured = (16 / 66 / (128 / 586)).toFixed(2);
  process.stdout.write(
    `\n16 rows take ${(few / many).toFixed(2)} × the time of 128; measured of another program: ${measured} ×\n`,
  );
}
