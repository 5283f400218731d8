/*
 * `bun bench/peers/train.ts [MODEL] [--tokens 1024] [--rank 10] [--steps 3] [--methods lora,sparse] [--record] [--out FILE]`:
 * a training step of RandLoRA, of its sparse and very sparse forms and of LoRA, PEFT's and ours, in turn on the same cores.
 * MODEL is the 135M chat model by default.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import * as v from "valibot";
import { pythonWithPeft } from "../../interop/environment.ts";
import { smollm2 } from "../../interop/models.ts";
import { openBenchDevice } from "../device.ts";
import { formatDuration, formatNumber } from "../../src/terminal/format.ts";
import { formatTable } from "../../src/terminal/table.ts";
import { machine, renderMachine } from "../harness.ts";
import { inRounds, ratios, timed } from "../training/rounds.ts";
import { equalLoraRank, type MethodOptions, Trainee } from "../training/trainee.ts";
import { PeerProcess } from "./worker.ts";

/** PEFT computes with as many threads as the machine of our targets has cores. */
const THREADS = 2;
/** Most that ours may take of the time of PEFT's, on the CPU device. */
const MOST = { randlora: 0.9, sparse: 0.8, "very-sparse": 0.7, lora: 1 } as const;

type MethodName = keyof typeof MOST;
const ALL: readonly MethodName[] = ["randlora", "sparse", "very-sparse", "lora"];
const Ready = v.object({ ready: v.record(v.string(), v.number()) });
const PeftStep = v.object({ seconds: v.number(), coreSeconds: v.number(), loss: v.number() });

const { values, positionals } = parseArgs({
  options: {
    tokens: { type: "string", default: "1024" },
    rank: { type: "string", default: "10" },
    steps: { type: "string", default: "3" },
    methods: { type: "string", default: ALL.join() },
    record: { type: "boolean", default: false },
    out: { type: "string" },
  },
  allowPositionals: true,
});
const folder = positionals[0] ?? (await smollm2());
const METHODS = ALL.filter((method) => values.methods.split(",").includes(method));
const [tokens, rank, steps] = [Number(values.tokens), Number(values.rank), Number(values.steps)];
const note = (line: string): void => {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}`);
};

const on = await machine();
process.stdout.write(renderMachine(on));
using gpu = await openBenchDevice();
const loraRank = await equalLoraRank(gpu, folder, rank);
const ranks = { randlora: rank, sparse: rank, "very-sparse": rank, lora: loraRank };
note("PEFT loads the model");
const script = join(import.meta.dir, "peft_train.py");
const command = [await pythonWithPeft(), script, folder, ...[tokens, rank, loraRank, THREADS].map(String)];
const offline = { HF_HUB_OFFLINE: "1", HF_HUB_DISABLE_PROGRESS_BARS: "1", PYTHONDONTWRITEBYTECODE: "1" };
await using peft = new PeerProcess(command, offline);
const { ready } = await peft.hello(Ready);

await using open = new AsyncDisposableStack();
const contenders = new Map<string, () => ReturnType<typeof timed>>();
for (const method of METHODS) {
  const ours = open.use(await Trainee.open(gpu, folder, { ...methodOf(method), rank: ranks[method], tokens }));
  const { trainableParameters } = ours.model.summary;
  if (trainableParameters !== ready[method]) {
    throw new Error(`${method}: PEFT trains ${ready[method]} numbers and we ${trainableParameters}: no contest`);
  }
  contenders.set(`PEFT ${method}`, async () => await peft.ask(method, PeftStep));
  contenders.set(`ours ${method}`, () => timed(() => ours.step()));
}
const times = await inRounds(contenders, steps, note);
note("");

const rows = METHODS.flatMap((method) => {
  const [theirs, ours] = [times.get(`PEFT ${method}`), times.get(`ours ${method}`)];
  if (theirs === undefined || ours === undefined) return [];
  const { seconds, coreSeconds } = ratios(ours, theirs);
  const target = `≤ ${MOST[method]}: ${seconds <= MOST[method] ? "met" : "missed"}`;
  return [
    [
      `${method}, r = ${ranks[method]}`,
      formatDuration(theirs.median.seconds),
      formatNumber(tokens / theirs.median.seconds, 1),
      formatDuration(theirs.median.coreSeconds),
      formatDuration(ours.median.seconds),
      formatNumber(tokens / ours.median.seconds, 1),
      formatDuration(ours.median.coreSeconds),
      formatNumber(seconds, 2),
      formatNumber(coreSeconds, 2),
      target,
    ],
  ];
});
const of = (who: string) => [`${who}: a step`, "tokens/s", "core time"];
const head = [`${tokens} tokens a step, median of ${steps}`, ...of("PEFT"), ...of("ours"), "ratio", "by core time"];
process.stdout.write(`\n${formatTable(rows, { head: [...head, "target"], align: "lrrrrrrrrl" })}`);

if (values.record || values.out !== undefined) {
  const date = new Date().toISOString().slice(0, 10);
  const file = values.out ?? join(import.meta.dir, `../results/peers-train-${date}.json`);
  await mkdir(dirname(file), { recursive: true });
  const results = Object.fromEntries(times);
  const text = JSON.stringify({ date, machine: on, threads: THREADS, tokens, ranks, results }, null, 2);
  await writeFile(file, `${text}\n`);
  process.stdout.write(`written: ${file}\n`);
}

function methodOf(name: MethodName): Omit<MethodOptions, "rank"> {
  if (name === "randlora" || name === "lora") return { method: name };
  return { method: "randlora", generator: "torch-mt19937-ternary", sparsity: name };
}
