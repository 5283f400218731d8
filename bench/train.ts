/*
 * `bun bench/train.ts [MODEL]`: a step of RandLoRA, in every order of its products, beside a step of LoRA with as many
 * parameters. MODEL is the 135M chat model by default, fetched where it is not there.
 *
 *   --tokens 1024,4096   tokens of a step, in sequences of 512 (default: 64,256,1024,4096)
 *   --cases lora,auto    of lora, auto, factored, merged-g, merged-h (default: all these), sparse, very-sparse, rank-r,
 *                        nola (rank 8)
 *   --rank 10            of RandLoRA; LoRA's is chosen by the number of parameters
 *   --steps 3            timed steps, after one that does not count
 *   --profile            one more step of each, split by kernel, instead of the table
 *   --record             write bench/results/train-DATE.json
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { smollm2 } from "../interop/models.ts";
import type { Sparsity } from "../src/compute/random/names.ts";
import { openBenchDevice } from "./device.ts";
import { machine, renderMachine } from "./harness.ts";
import { stepFlops } from "./training/flops.ts";
import { profiled, renderProfile } from "./training/profile.ts";
import { inRounds, timed } from "./training/rounds.ts";
import { type Measured, renderSteps } from "./training/table.ts";
import { equalLoraRank, Trainee, type TraineeOptions } from "./training/trainee.ts";

const USUAL = ["lora", "auto", "factored", "merged-g", "merged-h"] as const;
const CASES = [...USUAL, "sparse", "very-sparse", "rank-r", "nola"] as const;
type CaseName = (typeof CASES)[number];
/** The method's usual one. */
const NOLA_RANK = 8;

const { values, positionals } = parseArgs({
  options: {
    tokens: { type: "string", default: "64,256,1024,4096" },
    cases: { type: "string", default: USUAL.join(",") },
    rank: { type: "string", default: "10" },
    steps: { type: "string", default: "3" },
    profile: { type: "boolean", default: false },
    record: { type: "boolean", default: false },
  },
  allowPositionals: true,
});

const folder = positionals[0] ?? (await smollm2());
const rank = Number(values.rank);
const asked = values.cases.split(",");
const cases = CASES.filter((name) => asked.includes(name));
const sizes = values.tokens.split(",").map(Number);
const note = (line: string): void => {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}`);
};

function optionsOf(name: CaseName, tokens: number, loraRank: number): TraineeOptions {
  if (name === "lora") return { method: "lora", rank: loraRank, tokens };
  if (name === "nola") return { method: "nola", rank: NOLA_RANK, tokens };
  if (name === "sparse" || name === "very-sparse") return { method: "randlora", ...ternary(name), rank, tokens };
  if (name === "rank-r") return { method: "randlora", variant: "rank-r", rank, tokens };
  return { method: "randlora", rank, tokens, order: name === "auto" ? undefined : name };
}

/** RandLoRA on bases of −1, 0 and 1. */
function ternary(sparsity: Sparsity): Pick<TraineeOptions, "generator" | "sparsity"> {
  return { generator: "torch-mt19937-ternary", sparsity };
}

function titleOf(name: CaseName): string {
  if (name === "lora") return `LoRA, r = ${loraRank}`;
  return name === "nola" ? `NoLA, r = ${NOLA_RANK}` : `RandLoRA, r = ${rank}: ${name}`;
}

const on = await machine();
process.stdout.write(renderMachine(on));
using gpu = await openBenchDevice(values.profile);
const loraRank = await equalLoraRank(gpu, folder, rank);
const all: Measured[] = [];
for (const tokens of sizes) {
  await using open = new AsyncDisposableStack();
  const trainees = new Map<CaseName, Trainee>();
  for (const name of cases) {
    note(`${tokens} tokens: placing ${name}`);
    trainees.set(name, open.use(await Trainee.open(gpu, folder, optionsOf(name, tokens, loraRank))));
  }
  if (values.profile) {
    for (const [name, trainee] of trainees) {
      await trainee.step();
      const times = await profiled(gpu, () => trainee.step());
      process.stdout.write(`\n${renderProfile(`${name}, ${tokens} tokens`, times)}`);
    }
    continue;
  }
  const steps = new Map([...trainees].map(([name, trainee]) => [name, () => timed(() => trainee.step())]));
  const times = await inRounds(steps, Number(values.steps), (line) => note(`${tokens} tokens: ${line}`));
  note("");
  const measured = [...times].flatMap(([name, time]): Measured[] => {
    const trainee = trainees.get(name);
    if (trainee === undefined) return [];
    const { summary } = trainee.model;
    return [
      {
        name: titleOf(name),
        case: name,
        tokens,
        parameters: summary.trainableParameters,
        orders: trainee.orders,
        gigaflops: stepFlops(trainee.model, optionsOf(name, tokens, loraRank).rank, tokens) / 1e9,
        ...time,
      },
    ];
  });
  all.push(...measured);
  process.stdout.write(`\n${renderSteps(tokens, measured)}`);
}
if (values.record && all.length > 0) {
  const date = new Date().toISOString().slice(0, 10);
  await mkdir(join(import.meta.dir, "results"), { recursive: true });
  const text = JSON.stringify(
    { suite: "train", date, machine: on, gpu: gpu.info, loraRank, rank, results: all },
    null,
    2,
  );
  await writeFile(join(import.meta.dir, "results", `train-${date}.json`), `${text}\n`);
  process.stdout.write(`written: bench/results/train-${date}.json\n`);
}
