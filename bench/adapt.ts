/*
 * `bun bench/adapt.ts [MODEL] [--conversations 64] [--steps N] [--keep FOLDER]`: does RandLoRA adapt? Through the command line alone:
 * trains on made-up conversations, then measures a held-out text with the base, the adapter, and what merging writes,
 * on the checkpoint as it is and on a copy of it in f32. MODEL is the 135M chat model by default.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import * as v from "valibot";
import { conversation, randomFrom } from "../fixtures/embedded/talk.ts";
import { smollm2 } from "../interop/models.ts";
import { RandloraError } from "../src/files/errors.ts";
import { formatBytes, formatDuration, formatNumber } from "../src/terminal/format.ts";
import { formatTable } from "../src/terminal/table.ts";
import { machine, renderMachine } from "./harness.ts";

/** What is promised: of tokens, of seconds on two cores, of the fall of the held-out loss, of merging in f32. */
const BOUNDS = { tokens: 25_000, seconds: 600, fall: 0.05, apart: 1e-4 };
const CORES = 2;
const MAIN = join(import.meta.dir, "../cmd/main.ts");
const TRAINING = ["--sparse", "--learning-rate", "1e-3", "--warmup", "2", "--batch-size", "8", "--save-every", "1000"];

const { values, positionals } = parseArgs({
  options: {
    conversations: { type: "string", default: "64" },
    steps: { type: "string" },
    keep: { type: "string" },
  },
  allowPositionals: true,
});

const Trained = v.object({
  steps: v.number(),
  seconds: v.number(),
  trainable_parameters: v.number(),
  peak_gpu_bytes: v.number(),
});
const Planned = v.object({ samples: v.number(), total_tokens: v.number() });
const Loss = v.object({ nll: v.number(), perplexity: v.number() });
const Losses = v.object({ tokens: v.number(), base: Loss, adapted: Loss, merged: Loss });

interface Ended<T> {
  readonly answer: T;
  /** Seconds of processor time, all threads together. */
  readonly processor: number;
}

/** One command, and its JSON. */
async function randlora<T>(schema: v.GenericSchema<unknown, T>, args: readonly string[]): Promise<Ended<T>> {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[Krandlora ${args[0]} …`);
  const child = Bun.spawn([process.execPath, MAIN, ...args, "--json", "--quiet"], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  if (status !== 0) throw new RandloraError("file", `randlora ${args.join(" ")}: status ${status}: ${stderr.trim()}`);
  const microseconds = child.resourceUsage()?.cpuTime.total ?? 0n;
  return { answer: v.parse(schema, JSON.parse(stdout)), processor: Number(microseconds) / 1e6 };
}

/** Conversations about a small island, as scripts are written; others with another seed. */
function scripts(count: number, seed: number): string[] {
  const random = randomFrom(seed);
  return Array.from({ length: count }, () =>
    conversation(random)
      .map(
        ({ role, content }) => `${role === "assistant" ? "Guide" : role === "user" ? "Visitor" : "Note"}: ${content}`,
      )
      .join("\n"),
  );
}

const samples = (texts: readonly string[]) => texts.map((text) => `${JSON.stringify({ text })}\n`).join("");

async function main(folder: string): Promise<boolean> {
  const model = positionals[0] ?? (await smollm2());
  const at = (name: string) => join(folder, name);
  const [train, valid, text] = [at("train.jsonl"), at("valid.jsonl"), at("held-out.txt")] as const;
  const [run, wide] = [at("run"), at("base-f32")] as const;
  const heldOut = scripts(20, 12);
  await writeFile(train, samples(scripts(Number(values.conversations), 11)));
  await writeFile(valid, samples(heldOut));
  await writeFile(text, heldOut.join("\n\n"));

  const data = ["--data", train, "--valid", valid, ...(values.steps === undefined ? [] : ["--steps", values.steps])];
  const { answer: plan } = await randlora(Planned, ["finetune", model, ...data, ...TRAINING, "--dry-run"]);
  const trained = await randlora(Trained, ["finetune", model, ...data, ...TRAINING, "--out", run]);
  const lines = (await readFile(join(run, "metrics.jsonl"), "utf8")).trim().split("\n");
  const losses = lines.flatMap((line) => {
    const parsed: unknown = JSON.parse(line);
    return v.is(v.object({ valid_loss: v.number() }), parsed) ? [parsed.valid_loss] : [];
  });
  const [before = NaN, after = NaN] = [losses[0], losses.at(-1)];
  const { steps, seconds, trainable_parameters: parameters, peak_gpu_bytes: peak } = trained.answer;
  const perStep = Number(TRAINING[TRAINING.indexOf("--batch-size") + 1]);
  const tokens = (plan.total_tokens * Math.min(steps * perStep, plan.samples)) / plan.samples;

  // An adapter that is scaled by nothing leaves a copy of the base.
  const copy = ["merge", model, run, "--scale", "0", "--dtype", "f32", "--out", wide];
  await randlora(v.object({ out: v.string() }), copy);
  const measure = async (of: string) =>
    (await randlora(Losses, ["eval", "perplexity", of, "--adapter", join(run, "adapter"), "--merged", "--file", text]))
      .answer;
  const [stored, widened] = [await measure(model), await measure(wide)];

  const fall = 1 - after / before;
  const apart = Math.abs(widened.adapted.perplexity - widened.merged.perplexity);
  const row = (name: string, { tokens: of, base, adapted, merged }: v.InferOutput<typeof Losses>) => [
    `${name}, ${of} tokens`,
    ...[base, adapted, merged].map(({ perplexity }) => perplexity.toFixed(5)),
  ];
  const head = ["perplexity of the held-out text", "base", "adapted", "merged"];
  process.stdout.write(`\n${formatTable([row("as it is", stored), row("in f32", widened)], { head, align: "lrrr" })}`);
  const verdict = (met: boolean) => (met ? "met" : "missed");
  const checks: readonly (readonly [string, string, string, boolean])[] = [
    [
      "tokens trained on",
      formatNumber(Math.round(tokens)),
      `≤ ${formatNumber(BOUNDS.tokens)}`,
      tokens <= BOUNDS.tokens,
    ],
    [
      "held-out loss",
      `${before.toFixed(4)} → ${after.toFixed(4)}, ${(-fall * 100).toFixed(1)} %`,
      `≥ ${BOUNDS.fall * 100} % below`,
      fall >= BOUNDS.fall,
    ],
    ["time, wall clock", formatDuration(seconds), `≤ ${formatDuration(BOUNDS.seconds)}`, seconds <= BOUNDS.seconds],
    [
      `time, processor, by ${CORES} cores`,
      formatDuration(trained.processor / CORES),
      `≤ ${formatDuration(BOUNDS.seconds)}`,
      trained.processor / CORES <= BOUNDS.seconds,
    ],
    ["adapted and merged, f32", apart.toExponential(1), `≤ ${BOUNDS.apart}`, apart <= BOUNDS.apart],
  ];
  process.stdout.write(
    `\n${formatTable(
      checks.map(([name, found, bound, met]) => [name, found, bound, verdict(met)]),
      { head: ["", "found", "bound", ""] },
    )}\n${steps} steps, ${formatNumber(parameters)} parameters, ${formatBytes(peak)} of GPU memory\n`,
  );
  return checks.every(([, , , met]) => met);
}

process.stdout.write(renderMachine(await machine()));
const folder = values.keep ?? (await mkdtemp(join(tmpdir(), "randlora-adapt-")));
await mkdir(folder, { recursive: true });
try {
  if (!(await main(folder))) process.exitCode = 1;
} finally {
  if (values.keep === undefined) await rm(folder, { recursive: true });
}
