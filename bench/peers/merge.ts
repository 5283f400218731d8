/*
 * `bun run bench:peers [--runs 3] [--model 135m|1.5b] [--bases dense|sparse|very_sparse] [--kept saved|redrawn]
 * [--out FILE]`: PEFT and our compiled binary merge the same adapter (q, k, v, up, down) into the same model, in turn: the 135M chat model, then a checkpoint of 1.5
 * billion random parameters that a script makes (3.1 GB). Prints medians and ratios, and writes
 * bench/results/peers-DATE.json, or FILE. The device is the one that the program takes by itself, or RANDLORA_DEVICE.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import * as v from "valibot";
import { PYTHON_FOLDER, pythonWithPeft } from "../../interop/environment.ts";
import { smollm2 } from "../../interop/models.ts";
import { compiled, ROOT } from "../../interop/program.ts";
import { formatBytes, formatDuration, formatNumber } from "../../src/terminal/format.ts";
import { formatTable } from "../../src/terminal/table.ts";
import { machine, renderMachine } from "../harness.ts";
import { type Measurement, measure, median } from "./measure.ts";
import { DENSE_GENERATOR, MERGE_CASES, type MergeCase, titleOf } from "./merge-cases.ts";

/** PEFT computes with as many threads as the machine of our targets has cores. */
const THREADS = 2;
const OFFLINE = { HF_HUB_OFFLINE: "1", HF_HUB_DISABLE_PROGRESS_BARS: "1", PYTHONDONTWRITEBYTECODE: "1" };
/** Units in the last place that a merge may be off, or there is nothing to be fast at. */
const MOST_ULP = 1;

const OurReport = v.object({ max_error_ulp: v.optional(v.number()) });

type Taken = Pick<Measurement, "seconds" | "coreSeconds" | "peakBytes">;
interface Result {
  readonly of: MergeCase;
  readonly peft: readonly Taken[];
  readonly ours: readonly Taken[];
}

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "3" },
    model: { type: "string" },
    bases: { type: "string" },
    kept: { type: "string" },
    out: { type: "string" },
  },
});
const runs = Number(values.runs);
if (!Number.isInteger(runs) || runs < 1) throw new RangeError("--runs is a positive whole number");
const cases = MERGE_CASES.filter(
  ({ model, bases, kept }) =>
    model === (values.model ?? model) && bases === (values.bases ?? bases) && kept === (values.kept ?? kept),
);

const on = await machine();
process.stdout.write(renderMachine(on));
const [python, program] = [await pythonWithPeft(), await compiled()];
const here = await mkdtemp(join(tmpdir(), "randlora-peers-"));
const script = (name: string): string => join(import.meta.dir, name);
const note = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

try {
  const results: Result[] = [];
  const bases = new Map<string, string>();
  for (const of of cases) {
    const base = bases.get(of.model) ?? (await makeBase(of.model));
    bases.set(of.model, base);
    results.push(await contest(of, base));
  }
  process.stdout.write(`\n${render(results)}`);
  await record(results);
} finally {
  await rm(here, { recursive: true, force: true });
}

async function makeBase(model: MergeCase["model"]): Promise<string> {
  if (model === "135m") return await smollm2();
  note("making the large checkpoint");
  const base = join(here, "base");
  await measure([python, script("peft_model.py"), base], OFFLINE);
  return base;
}

/** Merges in turn, after a round that does not count: page cache, and on the small model a check by reference. */
async function contest(of: MergeCase, base: string): Promise<Result> {
  const [adapter, out] = [join(here, "adapter"), join(here, "out")];
  note(`${titleOf(of)}: making the adapter`);
  await measure([python, script("peft_make.py"), base, adapter, String(of.rank), of.bases, of.kept], OFFLINE);
  const generator = of.kept === "redrawn" && of.bases === "dense" ? ["--generator", DENSE_GENERATOR] : [];
  const merge = [...program, "merge", base, adapter, "--out", out, ...generator, "--json"];
  const contenders = {
    peft: async () => await measure([python, script("peft_merge.py"), base, adapter, out, String(THREADS)], OFFLINE),
    ours: async (...more: string[]) => await measure([...merge, ...more]),
  };
  const taken: { peft: Taken[]; ours: Taken[] } = { peft: [], ours: [] };
  try {
    for (let round = of.model === "135m" ? 0 : 1; round <= runs; round++) {
      note(`${titleOf(of)}: ${round === 0 ? "warm-up" : `round ${round} of ${runs}`}`);
      const peft = await contenders.peft();
      await rm(out, { recursive: true });
      const ours = await contenders.ours(...(round === 0 ? ["--verify"] : []));
      await rm(out, { recursive: true });
      const { max_error_ulp: off = 0 } = v.parse(OurReport, JSON.parse(ours.stdout));
      if (off > MOST_ULP) throw new Error(`our merge is ${off} ulp off: no contest`);
      if (round === 0) continue;
      taken.peft.push(timesOf(peft));
      taken.ours.push(timesOf(ours));
    }
  } finally {
    await rm(adapter, { recursive: true, force: true });
  }
  return { of, ...taken };
}

function timesOf({ seconds, coreSeconds, peakBytes }: Measurement): Taken {
  return { seconds, coreSeconds, peakBytes };
}

function render(results: readonly Result[]): string {
  const rows = results.map(({ of, peft, ours }) => {
    const both = (key: keyof Taken): [number, number] => [
      median(peft.map((one) => one[key])),
      median(ours.map((one) => one[key])),
    ];
    const [seconds, core, bytes] = [both("seconds"), both("coreSeconds"), both("peakBytes")];
    const rounds = ours.map((one, index) => one.seconds / (peft[index]?.seconds ?? Number.NaN));
    const ratio = ([theirs, mine]: [number, number]): number => mine / theirs;
    const verdict = (value: number, most: number): string => `≤ ${most}: ${value <= most ? "met" : "missed"}`;
    return [
      titleOf(of),
      ...seconds.map(formatDuration),
      formatNumber(ratio(seconds), 2),
      `${formatNumber(Math.min(...rounds), 2)}–${formatNumber(Math.max(...rounds), 2)}`,
      formatNumber(ratio(core), 2),
      verdict(ratio(seconds), of.seconds),
      ...bytes.map(formatBytes),
      formatNumber(ratio(bytes), 2),
      verdict(ratio(bytes), of.bytes),
    ];
  });
  const head = [`whole merge, median of ${runs}`, "PEFT", "randlora", "ratio", "by round", "by core time", "target"];
  return formatTable(rows, { head: [...head, "PEFT", "randlora", "memory", "target"], align: "lrrrrrlrrrl" });
}

async function record(results: readonly Result[]): Promise<void> {
  const date = new Date().toISOString().slice(0, 10);
  const file = values.out ?? join(ROOT, "bench", "results", `peers-${date}.json`);
  const peers = (await readFile(join(PYTHON_FOLDER, "requirements.txt"), "utf8")).trim().split("\n");
  await mkdir(join(file, ".."), { recursive: true });
  await writeFile(file, `${JSON.stringify({ date, machine: on, peers, threads: THREADS, results }, null, 2)}\n`);
  note(`written: ${file}`);
}
