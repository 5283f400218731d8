/*
 * `npm run bench:records [-- --rounds 3] [--loaded]`: measures what README.md says of speed, beside PEFT on the same cores, in
 * at most five minutes, and writes bench/results/readme.json; `bun scripts/readme.ts` makes README's chart and text of it. On a
 * machine that others use it refuses, since their work is in every figure.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import * as v from "valibot";
import { RandloraError } from "../src/files/errors.ts";
import { checkIdle, type Figure, MACHINE, type ReadmeRecord, RECORD_FILE } from "./readme-record.ts";

const TAKEN = v.array(v.object({ seconds: v.number(), peakBytes: v.optional(v.number()) }));
const MERGES = v.object({
  machine: MACHINE,
  peers: v.array(v.string()),
  results: v.array(v.object({ of: v.object({ bases: v.string(), kept: v.string() }), peft: TAKEN, ours: TAKEN })),
});
const STEPS = v.object({
  tokens: v.number(),
  ranks: v.record(v.string(), v.number()),
  results: v.record(v.string(), v.object({ runs: TAKEN })),
});

const { values } = parseArgs({
  options: { rounds: { type: "string", default: "3" }, loaded: { type: "boolean", default: false } },
});
const rounds = Number(values.rounds);
if (!Number.isInteger(rounds) || rounds < 3) throw new RangeError("--rounds is a whole number of at least 3");
const [load = NaN] = loadavg();
if (!values.loaded) {
  try {
    checkIdle(load);
  } catch (error) {
    if (!(error instanceof RandloraError)) throw error;
    process.stderr.write(`error: ${error.message}\nhint: ${error.hint}\n`);
    process.exit(2);
  }
}

const started = performance.now();
const folder = await mkdtemp(join(tmpdir(), "randlora-records-"));
try {
  const dense = await taken(MERGES, "merge.ts", "--model", "135m", "--bases", "dense", "--kept", "saved", "--runs");
  const sparse = await taken(MERGES, "merge.ts", "--model", "135m", "--bases", "sparse", "--runs");
  const methods = ["lora", "randlora", "sparse"];
  const steps = await taken(STEPS, "train.ts", "--tokens", "512", "--methods", methods.join(), "--steps");
  const seconds = (list: v.InferOutput<typeof TAKEN>) => list.map((one) => one.seconds);
  const bytes = (list: v.InferOutput<typeof TAKEN>) => list.flatMap(({ peakBytes }) => peakBytes ?? []);
  const figures: Figure[] = [...dense.results, ...sparse.results].map(({ of, peft, ours }) => ({
    task: "merge",
    name: of.bases,
    peft: { seconds: seconds(peft), bytes: bytes(peft) },
    ours: { seconds: seconds(ours), bytes: bytes(ours) },
  }));
  for (const name of methods) {
    const of = (who: string) => ({ seconds: seconds(steps.results[`${who} ${name}`]?.runs ?? []), bytes: [] });
    figures.push({ task: `step of ${steps.tokens} tokens`, name, peft: of("PEFT"), ours: of("ours") });
  }
  const record: ReadmeRecord = {
    command: "npm run bench:records",
    date: new Date().toISOString().slice(0, 10),
    machine: { ...dense.machine, load },
    peft: dense.peers.find((name) => name.startsWith("peft=="))?.slice(6) ?? "",
    model: "the 135M chat model",
    figures,
  };
  await Bun.write(RECORD_FILE, `${JSON.stringify(record, undefined, 2)}\n`);
  const minutes = ((performance.now() - started) / 60_000).toFixed(1);
  process.stdout.write(`written: bench/results/readme.json, in ${minutes} minutes; next: bun scripts/readme.ts\n`);
} finally {
  await rm(folder, { recursive: true });
}

/** The record of a script of bench/peers, run with these arguments and the number of rounds. */
async function taken<T>(schema: v.GenericSchema<unknown, T>, name: string, ...args: readonly string[]): Promise<T> {
  const out = join(folder, `${Bun.hash(args.join())}.json`);
  const command = [process.execPath, join(import.meta.dir, "peers", name), ...args, String(rounds), "--out", out];
  const child = Bun.spawn(command, { stdio: ["ignore", "inherit", "inherit"] });
  if ((await child.exited) !== 0) throw new Error(`${name} failed: see above`);
  return v.parse(schema, await Bun.file(out).json());
}
