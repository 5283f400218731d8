/*
 * `bun bench/train-memory.ts [MODEL] [--tokens 1024] [--rank 10] [--record]`: GPU memory of training, as the device's own count has
 * it: the bases of RandLoRA by kind beside PEFT's f32, then a run of each kind beside LoRA with as many parameters, with what
 * `finetune --dry-run` would have foretold. MODEL is the 135M chat model by default. One step each; no timing.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { smollm2 } from "../interop/models.ts";
import { openBenchDevice } from "./device.ts";
import { formatBytes, formatCount, formatNumber } from "../src/terminal/format.ts";
import { formatTable } from "../src/terminal/table.ts";
import { machine, renderMachine } from "./harness.ts";
import { type BasesBytes, measureBases } from "./training/bases-memory.ts";
import { equalLoraRank, Trainee, type TraineeOptions } from "./training/trainee.ts";

/** Buffers that are bound where nothing is stored. */
const NOTHING_BYTES = 64;
/** Most that an estimate may be off by. */
const NEAR = 0.15;

const KINDS = [
  { name: "dense", sparsity: "dense", generator: "torch-mt19937-bf16-v2", target: 1 / 2 },
  { name: "sparse", sparsity: "sparse", generator: "torch-mt19937-ternary", target: 1 / 16 },
  { name: "very sparse", sparsity: "very-sparse", generator: "torch-mt19937-ternary", target: 1 / 16 },
  { name: "philox", sparsity: "dense", generator: "philox-v1", target: 0 },
] as const;

type Measured = BasesBytes & { readonly target: number };

/** GPU bytes of a run, by what they are for. */
interface RunBytes {
  readonly name: string;
  readonly parameters: number;
  readonly weights: number;
  /** Values, gradients and AdamW's moments. */
  readonly trained: number;
  readonly bases: number;
  /** W' that is held, and scratch. */
  readonly products: number;
  /** Activations, their gradients and the loss, at the fullest moment. */
  readonly activations: number;
  readonly peak: number;
  readonly estimate: number;
}

const { values, positionals } = parseArgs({
  options: {
    tokens: { type: "string", default: "1024" },
    rank: { type: "string", default: "10" },
    record: { type: "boolean", default: false },
  },
  allowPositionals: true,
});
const folder = positionals[0] ?? (await smollm2());
const [tokens, rank] = [Number(values.tokens), Number(values.rank)];
const note = (line: string): void => {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}`);
};

/** A step on a GPU that does nothing else. */
async function measureRun(name: string, options: TraineeOptions, bases: number): Promise<RunBytes> {
  note(`${name}: a step`);
  using gpu = await openBenchDevice();
  const { memory } = gpu;
  await using trainee = await Trainee.open(gpu, folder, options);
  const { weights, parameters, summary } = trainee.model;
  const [held, trained] = [memory.liveBytes, parameters.bytes];
  await trainee.step();
  return {
    name,
    parameters: summary.trainableParameters,
    weights: weights.bytes,
    trained,
    bases,
    products: held - weights.bytes - trained - bases,
    activations: memory.peakLiveBytes - held,
    peak: memory.peakLiveBytes,
    estimate: trainee.estimatedBytes,
  };
}

/** Padding of rows counts: what is above the target by no more than that is said to be. */
function verdictOf({ ours, padding, peft, target }: Measured): string {
  const most = target * peft + NOTHING_BYTES;
  if (ours <= most) return "met";
  return ours - padding <= most
    ? `met but for padding of rows, ${formatNumber((padding / ours) * 100, 1)} %`
    : "missed";
}

function renderBases(kinds: readonly Measured[]): string {
  const rows = kinds.map((kind) => {
    const { name, ours, widened, peft, target } = kind;
    const part = target === 0 ? "0" : `1/${1 / target}`;
    return [
      name,
      formatBytes(ours),
      formatBytes(widened),
      formatBytes(peft),
      formatNumber(ours / peft, 4),
      `${part}: ${verdictOf(kind)}`,
    ];
  });
  const head = ["bases", "ours", "A once more in f32", "PEFT, f32", "ours / PEFT", "target"];
  return formatTable(rows, { head, align: "lrrrrl" });
}

function renderRuns(runs: readonly RunBytes[]): string {
  const [lora] = runs;
  const rows = runs.map((run) => {
    const { weights, trained, bases, products, activations, peak, estimate } = run;
    const off = (estimate - peak) / peak;
    return [
      run.name,
      formatCount(run.parameters),
      ...[weights, trained, bases, products, activations, peak].map(formatBytes),
      formatNumber(peak / (lora?.peak ?? peak), 3),
      `${formatBytes(estimate)} (${off < 0 ? "−" : "+"}${formatNumber(Math.abs(off) * 100, 1)} %)`,
      Math.abs(off) <= NEAR ? "met" : "missed",
    ];
  });
  const parts = ["weights", "trained", "bases", "W', scratch", "activations", "peak", "/ LoRA's"];
  const head = [`${tokens} tokens a step`, "parameters", ...parts, "estimate", `± ${NEAR * 100} %`];
  return formatTable(rows, { head, align: "lrrrrrrrrrl" });
}

const on = await machine();
process.stdout.write(renderMachine(on));
const bases: Measured[] = [];
let loraRank = 1;
{
  using gpu = await openBenchDevice();
  loraRank = await equalLoraRank(gpu, folder, rank);
  for (const { target, ...kind } of KINDS) {
    note(`${kind.name}: drawing bases`);
    bases.push({ ...(await measureBases(gpu, folder, rank, kind)), target });
  }
}
note("");
process.stdout.write(`\n${renderBases(bases)}`);

const runs = [await measureRun(`LoRA, r = ${loraRank}`, { method: "lora", rank: loraRank, tokens }, 0)];
for (const [index, { name, sparsity, generator }] of KINDS.entries()) {
  const { ours = 0, widened = 0 } = bases[index] ?? {};
  const options = { method: "randlora", rank, tokens, sparsity, generator } as const;
  runs.push(await measureRun(`RandLoRA, r = ${rank}: ${name}`, options, ours + widened));
}
const factored = { method: "randlora", rank, tokens, order: "factored" } as const;
const { ours = 0, widened = 0 } = bases[0] ?? {};
runs.push(await measureRun(`RandLoRA, r = ${rank}: dense, factored`, factored, ours + widened));
note("");
process.stdout.write(`\n${renderRuns(runs)}`);

if (values.record) {
  const date = new Date().toISOString().slice(0, 10);
  await mkdir(join(import.meta.dir, "results"), { recursive: true });
  const text = JSON.stringify(
    { suite: "train-memory", date, machine: on, tokens, rank, loraRank, bases, runs },
    null,
    2,
  );
  await writeFile(join(import.meta.dir, "results", `train-memory-${date}.json`), `${text}\n`);
  process.stdout.write(`written: bench/results/train-memory-${date}.json\n`);
}
