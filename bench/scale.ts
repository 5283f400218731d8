/*
 * `bun bench/scale.ts`: what N machines make of a training step (docs/guide/cluster.md). A model, from the parameters that each
 * method trains by its own count; with `--measure` also steps of one and of two processes on this machine, with gradients that
 * pass through a loopback of so many Mb/s (`--rates 100,1000`; Linux, as root, in a network namespace of its own).
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { gatherSeconds, longEnough } from "./scale-model.ts";
import { everyMpi } from "../interop/mpi.ts";
import { isAdapterMethod, METHODS } from "../src/adapters/methods.ts";
import { findTargets } from "../src/adapters/base/target-modules.ts";
import { RandloraError } from "../src/files/errors.ts";
import { plannedModel } from "../src/measure/budget/planned-model.ts";
import { loadConfigs } from "../src/models/decoder/architectures/index.ts";
import { formatTable } from "../src/terminal/table.ts";
import { writeTexts } from "../src/train/testing/runs.ts";
import { usualTargets } from "../src/train/settings/resolve-settings.ts";

const LLAMA = { model_type: "llama", rms_norm_eps: 1e-5, rope_theta: 1e5, hidden_act: "silu", torch_dtype: "bfloat16" };
const SIZES = [
  "hidden_size",
  "intermediate_size",
  "num_hidden_layers",
  "num_attention_heads",
  "num_key_value_heads",
  "vocab_size",
] as const;
/** Those, and whether embeddings are tied: SmolLM2 135M, Qwen2.5 1.5B, Llama 3.1 8B. */
const SHAPES = {
  "135M": [576, 1536, 30, 9, 3, 49_152, true],
  "1.5B": [1536, 8960, 28, 12, 2, 151_936, true],
  "8B": [4096, 14_336, 32, 32, 8, 128_256, false],
} as const;
const MACHINES = 4;
const GIGABITS = [1, 10, 100] as const;
/** The part of four machines' time that is to be computing, for the step that is named as long enough. */
const EFFICIENCY = 0.9;

/** By method: the parameters that it trains at its usual size, with its usual targets. */
async function trainedBy(shape: (typeof SHAPES)[keyof typeof SHAPES]): Promise<ReadonlyMap<string, number>> {
  const [tied, sizes] = [shape[6], Object.fromEntries(SIZES.map((name, at) => [name, shape[at]]))];
  const settings = { ...LLAMA, ...sizes, max_position_embeddings: 2048, tie_word_embeddings: tied };
  const folder = await mkdtemp(join(tmpdir(), "randlora-scale-"));
  try {
    await Bun.write(join(folder, "config.json"), JSON.stringify(settings));
    const { config, json } = await loadConfigs(folder);
    const planned = plannedModel(config, json, folder);
    const { modules } = findTargets(planned.base, { targets: usualTargets("llama"), layers: [] });
    const usual = METHODS.map((method) => {
      if (!isAdapterMethod(method)) return [method.name, planned.trained] as const;
      const { capacity, usual: settings } = method.training;
      const own: Readonly<Record<string, unknown>> = { ...method.training.resolve({}) };
      const size = Math.min(Number(own[capacity.setting] ?? settings.rank), capacity.most(modules));
      return [method.name, capacity.count(modules, size, {})] as const;
    });
    return new Map(usual);
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function model(): Promise<string> {
  const rows: string[][] = [];
  for (const [name, shape] of Object.entries(SHAPES)) {
    for (const [method, parameters] of await trainedBy(shape)) {
      const seconds = GIGABITS.map((rate) => gatherSeconds(parameters, MACHINES, rate));
      const steps = seconds.map((one) => longEnough(one, MACHINES, EFFICIENCY));
      rows.push([
        name,
        method,
        parameters.toLocaleString("en"),
        short((4 * parameters) / 1e6),
        ...seconds.map(short),
        ...steps.map(short),
      ]);
    }
  }
  const gathers = GIGABITS.map((rate) => `${rate} Gb/s`);
  const head = ["model", "method", "parameters", "MB", ...gathers, ...gathers.map((one) => `step at ${one}`)];
  return formatTable(rows, { head, align: `ll${"r".repeat(head.length - 2)}`, columns: 200 });
}

/** Three digits. */
function short(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString("en") : value.toPrecision(2);
}

/** Median seconds of a step, the first ones left out. */
async function stepSeconds(
  folder: string,
  name: string,
  command: readonly string[],
  args: readonly string[],
): Promise<number> {
  const out = join(folder, name);
  const all = [...command, "finetune", ...args, "--out", out, "--quiet"];
  const child = Bun.spawn(all, {
    cwd: folder,
    env: { ...process.env, RANDLORA_DEVICE: "cpu" },
    stdio: ["ignore", "ignore", "inherit"],
  });
  if ((await child.exited) !== 0) throw new RandloraError("file", `${all.join(" ")}: failed`, "see above");
  const lines = (await readFile(join(out, "metrics.jsonl"), "utf8")).trim().split("\n");
  const seconds = lines
    .map((line) => Number(JSON.parse(line).seconds))
    .slice(2)
    .toSorted((a, b) => a - b);
  await rm(out, { recursive: true });
  return seconds[Math.floor(seconds.length / 2)] ?? NaN;
}

async function measure(base: string, rates: readonly number[]): Promise<string> {
  const [, openmpi] = await everyMpi();
  const folder = await mkdtemp(join(tmpdir(), "randlora-scale-"));
  const main = [process.execPath, join(import.meta.dir, "../cmd/main.ts")];
  const launched = [...openmpi.launch(2), "--mca", "btl", "tcp,self", "--mca", "btl_tcp_if_include", "lo", ...main];
  // In a network of its own, whose loopback lets through so much.
  const within = (rate: number | undefined, command: readonly string[]) => {
    const limit =
      rate === undefined ? "" : `tc qdisc add dev lo root tbf rate ${rate}mbit burst 256kb latency 400ms && `;
    return ["unshare", "-n", "sh", "-c", `ip link set lo up && ${limit}exec "$0" "$@"`, ...command];
  };
  try {
    await writeTexts(join(folder, "train.jsonl"), 64);
    const rows: string[][] = [];
    for (const [method, flags] of [
      ["lora", ["--rank", "64", "--targets", "all-linear"]],
      ["randlora", ["--sparse"]],
    ] as const) {
      const common = [
        base,
        "--data",
        "train.jsonl",
        "--method",
        method,
        ...flags,
        "--shards",
        "2",
        "--batch-size",
        "4",
      ];
      const args = [...common, "--max-length", "256", "--steps", "8"];
      const parameters = await parametersOf(folder, main, args);
      const one = await stepSeconds(folder, "one", main, [...args, "--threads", "2"]);
      const free = await stepSeconds(folder, "free", within(undefined, launched), [...args, "--threads", "1"]);
      rows.push([method, parameters.toLocaleString("en"), "no limit", short(one), short(free), "", ""]);
      for (const rate of rates) {
        const limited = await stepSeconds(folder, `at-${rate}`, within(rate, launched), [...args, "--threads", "1"]);
        // Both directions pass through the one loopback.
        const expected = 2 * gatherSeconds(parameters, 2, rate / 1000);
        rows.push([method, "", `${rate} Mb/s`, "", short(limited), short(limited - free), short(expected)]);
      }
    }
    const head = ["method", "parameters", "loopback", "one process", "two", "gather", "model"];
    return formatTable(rows, { head, align: "lrlrrrr", columns: 120 });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function parametersOf(folder: string, main: readonly string[], args: readonly string[]): Promise<number> {
  const child = Bun.spawn([...main, "finetune", ...args, "--dry-run", "--json", "-q"], {
    cwd: folder,
    stderr: "inherit",
  });
  return Number(JSON.parse(await child.stdout.text()).trainable_parameters);
}

function write(text: string): void {
  process.stdout.write(`${text.trimEnd()}\n\n`);
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { measure: { type: "string" }, rates: { type: "string", default: "100,1000" } },
  });
  write(
    `${MACHINES} machines; step: the shortest of one machine that keeps them computing ${EFFICIENCY * 100} % of the time, in s`,
  );
  write(await model());
  if (values.measure !== undefined) write(await measure(resolve(values.measure), values.rates.split(",").map(Number)));
}
