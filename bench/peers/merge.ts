/*
 * `bun run bench:peers [RUNS]`: PEFT and our compiled binary merge the same adapter into the same 135M model, in turn.
 * Prints medians and ratios, and writes bench/results/peers-DATE.json.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { availableParallelism, cpus, loadavg, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import * as v from "valibot";
import { PYTHON_FOLDER, pythonWithPeft } from "../../interop/environment.ts";
import { smollm2 } from "../../interop/models.ts";
import { compiled, ROOT } from "../../interop/program.ts";
import { formatTable } from "../../interop/table.ts";
import { measure, median } from "./measure.ts";

/** PEFT computes with as many threads as the GPU-less machine of our targets has cores. */
const THREADS = 2;
const GENERATOR = "torch-mt19937-bf16-v2";
/** Most that we may take of what PEFT takes: of the whole process, which is what a user waits for. */
const TARGETS = { seconds: 0.6, bytes: { saved: 0.25, redrawn: 0.5 } } as const;
const KINDS = ["saved", "redrawn"] as const;

const PeftTimes = v.object({
  imports: v.number(),
  load: v.number(),
  merge: v.number(),
  save: v.number(),
  work: v.number(),
});
const OurReport = v.object({
  seconds: v.looseObject({ total: v.number() }),
  peak_rss_bytes: v.number(),
  max_error_ulp: v.optional(v.number()),
});

/** One merge by one program. `work`: its own clock, from reading the model to the last byte written, without start-up. */
interface Run {
  readonly seconds: number;
  readonly work: number;
  readonly peakBytes: number;
}

const medianRun = (runs: readonly Run[]): Run => ({
  seconds: median(runs.map((run) => run.seconds)),
  work: median(runs.map((run) => run.work)),
  peakBytes: median(runs.map((run) => run.peakBytes)),
});

async function main(): Promise<void> {
  const count = Number(process.argv[2] ?? 5);
  if (!Number.isInteger(count) || count < 1) throw new RangeError("RUNS is a positive whole number");
  const [python, base, program] = [await pythonWithPeft(), await smollm2(), await compiled()];
  const [load = 0] = loadavg();
  if (load > 0.5)
    process.stderr.write(`warning: this machine is busy (load ${load.toFixed(1)}): ratios will mislead\n`);
  const offline = { HF_HUB_OFFLINE: "1", HF_HUB_DISABLE_PROGRESS_BARS: "1", PYTHONDONTWRITEBYTECODE: "1" };
  const here = await mkdtemp(join(tmpdir(), "randlora-peers-"));
  const out = join(here, "out");

  const peft = async (adapter: string): Promise<Run> => {
    const script = join(import.meta.dir, "peft_merge.py");
    const found = await measure([python, script, base, adapter, out, String(THREADS)], offline);
    await rm(out, { recursive: true });
    const { work } = v.parse(PeftTimes, JSON.parse(found.stdout));
    return { seconds: found.seconds, work, peakBytes: found.peakBytes };
  };
  const ours = async (adapter: string, ...more: string[]): Promise<Run> => {
    const generator = adapter.endsWith("redrawn") ? ["--generator", GENERATOR] : [];
    const found = await measure([...program, "merge", base, adapter, "--out", out, ...generator, ...more, "--json"]);
    await rm(out, { recursive: true });
    const report = v.parse(OurReport, JSON.parse(found.stdout));
    if ((report.max_error_ulp ?? 0) > 1) throw new Error(`our merge is ${report.max_error_ulp} ulp off: no contest`);
    return { seconds: found.seconds, work: report.seconds.total, peakBytes: found.peakBytes };
  };

  try {
    process.stderr.write("making the adapter\n");
    const make = join(import.meta.dir, "peft_make.py");
    await measure([python, make, base, here], { ...offline, PYTHONPATH: PYTHON_FOLDER });
    const results = [];
    for (const kind of KINDS) {
      const adapter = join(here, kind);
      // One round that does not count: page cache, shader cache, and a check that there is something to be fast at.
      await peft(adapter);
      await ours(adapter, "--verify");
      const runs: { peft: Run[]; ours: Run[] } = { peft: [], ours: [] };
      for (let i = 0; i < count; i++) {
        process.stderr.write(`${kind} bases: round ${i + 1} of ${count}\n`);
        runs.peft.push(await peft(adapter));
        runs.ours.push(await ours(adapter));
      }
      results.push({ kind, runs, median: { peft: medianRun(runs.peft), ours: medianRun(runs.ours) } });
    }
    await report(results, count, load);
  } finally {
    await rm(here, { recursive: true, force: true });
  }
}

interface Result {
  readonly kind: (typeof KINDS)[number];
  readonly runs: { readonly peft: readonly Run[]; readonly ours: readonly Run[] };
  readonly median: { readonly peft: Run; readonly ours: Run };
}

function inSeconds(value: number): string {
  return `${value.toFixed(2)} s`;
}

function inMegabytes(value: number): string {
  return `${(value / 1e6).toFixed(0)} MB`;
}

async function report(results: readonly Result[], count: number, load: number): Promise<void> {
  const rows = results.flatMap(({ kind, median: { peft, ours } }) => {
    const line = (
      what: string,
      theirs: number,
      mine: number,
      show: (value: number) => string,
      target?: number,
    ): string[] => [
      `${kind} bases: ${what}`,
      show(theirs),
      show(mine),
      (mine / theirs).toFixed(2),
      target === undefined ? "" : `≤ ${target}`,
      target === undefined ? "" : mine <= target * theirs ? "met" : "missed",
    ];
    return [
      line("whole process", peft.seconds, ours.seconds, inSeconds, TARGETS.seconds),
      line("without start-up and imports", peft.work, ours.work, inSeconds),
      line("peak memory", peft.peakBytes, ours.peakBytes, inMegabytes, TARGETS.bytes[kind]),
    ];
  });
  const head = [`median of ${count}, 135M model, r = 16, q k v up down`, "PEFT", "randlora", "ratio", "target", ""];
  process.stdout.write(`${formatTable(head, rows)}\n`);

  const today = new Date().toISOString().slice(0, 10);
  const folder = join(ROOT, "bench", "results");
  await mkdir(folder, { recursive: true });
  const file = join(folder, `peers-${today}.json`);
  const machine = { cpu: cpus()[0]?.model ?? "", cores: availableParallelism(), memory: totalmem(), load };
  const peers = (await readFile(join(PYTHON_FOLDER, "requirements.txt"), "utf8")).trim().split("\n");
  const text = JSON.stringify({ date: today, machine, peers, threads: THREADS, targets: TARGETS, results }, null, 2);
  await writeFile(file, `${text}\n`);
  process.stderr.write(`written: bench/results/peers-${today}.json\n`);
}

await main();
