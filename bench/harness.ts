import { mkdir, writeFile } from "node:fs/promises";
import { availableParallelism, cpus, loadavg, totalmem } from "node:os";
import { join } from "node:path";
import { formatBytes, formatDuration, formatNumber, formatShare } from "../src/terminal/format.ts";
import { formatTable } from "../src/terminal/table.ts";
import type { Case, Suite } from "./suite.ts";
import { time, type Timing } from "./time.ts";
import { openBenchDevice } from "./device.ts";

/** A case, timed. Seconds are of one run; the spread is the median absolute deviation. */
export interface Result extends Timing {
  readonly name: string;
  readonly amount: number;
  /** At the median, and at the fastest run: what the machine can do when nobody else uses it. */
  readonly rate: number;
  readonly bestRate: number;
  /** Cores that the process had on average: on a shared machine fewer than it could use. */
  readonly cores: number;
  /** Units per second of processor time, whoever else had the cores meanwhile; of a real GPU it says nothing. */
  readonly perCore: number;
  readonly target?: number;
}

/** Runs the cases of a suite whose names contain every word of `filter`. */
export async function runSuite(suite: Suite, filter: readonly string[], note: (line: string) => void) {
  const wanted = (name: string): boolean => filter.every((word) => name.toLowerCase().includes(word));
  const results: Result[] = [];
  for await (const one of suite.cases(wanted, openBenchDevice)) {
    if (!wanted(one.name)) continue;
    note(`${suite.name}: ${one.name}`);
    results.push(await timed(one));
  }
  return results;
}

async function timed({ name, amount, target, run }: Case): Promise<Result> {
  await run(); // compiles, which no processor time is to count
  let calls = 0;
  const [wall, cpu] = [performance.now(), process.cpuUsage()];
  const timing = await time(() => {
    calls += 1;
    return run();
  });
  const { user, system } = process.cpuUsage(cpu);
  return {
    name,
    amount,
    ...timing,
    rate: amount / timing.medianSeconds,
    bestRate: amount / timing.minSeconds,
    cores: (user + system) / 1000 / (performance.now() - wall),
    perCore: (amount * calls * 1e6) / (user + system),
    ...(target === undefined ? {} : { target }),
  };
}

/** What the numbers were measured on. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memory: number;
  /** Processes that wanted a core in the last minute, this one among them. */
  readonly load: number;
  readonly bun: string;
  /** What computes, and what drives it. */
  readonly device: string;
  readonly driver: string;
  /** Of the repository, "-dirty" where files differ from it; empty without git. */
  readonly commit: string;
}

export async function machine(): Promise<Machine> {
  using opened = await openBenchDevice();
  const { name, driver } = opened.info;
  const git = Bun.which("git");
  const stdout = git && Bun.spawnSync([git, "describe", "--always", "--dirty"], { cwd: import.meta.dir }).stdout;
  return {
    device: name,
    driver,
    commit: stdout?.toString().trim() ?? "",
    cpu: cpus()[0]?.model ?? "unknown",
    cores: availableParallelism(),
    memory: totalmem(),
    load: loadavg()[0] ?? 0,
    bun: Bun.version,
  };
}

/** Two lines, and a third where the machine is not ours alone. */
export function renderMachine({ cpu, cores, memory, load, bun, device, driver, commit }: Machine): string {
  const host = `${cpu}, ${cores} cores, ${formatBytes(memory)}, Bun ${bun}, load average ${formatNumber(load, 2)}`;
  const facts = `${device} (${driver}), commit ${commit}\n${host}\n`;
  const shared =
    'others use this machine: the median is too low, "best" and "a core" are nearer to what it can do; "cores" is what we got\n';
  return load > 0.75 * cores ? facts + shared : facts;
}

/** The table of a suite. */
export function renderResults({ title, unit }: Suite, results: readonly Result[]): string {
  const verdict = ({ rate, bestRate, target }: Result): string => {
    if (target === undefined) return "";
    const met = rate >= target ? "met" : bestRate >= target ? "met at best" : "missed";
    return `≥ ${formatNumber(target)}: ${met}`;
  };
  const rows = results.map((result) => [
    result.name,
    formatNumber(result.rate, 1),
    formatNumber(result.bestRate, 1),
    formatDuration(result.medianSeconds),
    formatShare(result.spreadSeconds / result.medianSeconds),
    formatNumber(result.runs),
    formatNumber(result.cores, 2),
    formatNumber(result.perCore, 1),
    verdict(result),
  ]);
  const head = [title, unit, "best", "one run", "spread", "runs", "cores", "a core", "target"];
  return formatTable(rows, { head, align: "lrrrrrrrl" });
}

/** Writes bench/results/SUITE-DATE.json and returns its path from the repository's root. */
export async function record(suite: Suite, on: Machine, results: readonly Result[]): Promise<string> {
  const date = new Date().toISOString().slice(0, 10);
  const path = `bench/results/${suite.name}-${date}.json`;
  await mkdir(join(import.meta.dir, "results"), { recursive: true });
  const text = JSON.stringify({ suite: suite.name, unit: suite.unit, date, machine: on, results }, null, 2);
  await writeFile(join(import.meta.dir, "..", path), `${text}\n`);
  return path;
}
