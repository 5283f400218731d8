/*
 * `bun bench/batches.ts [MODEL] [--rounds 3] [--tokens 64] [--questions 16] [--data DIR]`: what decoding several requests in a batch brings.
 * Four clients ask a real `randlora serve --parallel 4` at once, and one after the other; `randlora eval commonsense` answers
 * eight questions together, and one after the other, greedily. MODEL is the 135M chat model by default; the questions are made up,
 * or those of DIR (LLM-Adapters' form). RANDLORA_DEVICE says what computes, by default the CPU device. Prints rates by the clock and by processor time.
 */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import * as v from "valibot";
import { smollm2 } from "../interop/models.ts";
import { RandloraError } from "../src/files/errors.ts";
import { formatNumber } from "../src/terminal/format.ts";
import { formatTable } from "../src/terminal/table.ts";
import { machine, renderMachine } from "./harness.ts";
import { DEVICE, ServerProcess } from "./serving/servers.ts";
import { inRounds, type StepTime, type Timed } from "./training/rounds.ts";

/** Least decoding rates of batches, as multiples of the same requests one after the other. */
const LEAST = { serve: 1.8, eval: 3 };
const CLIENTS = 4;
const QUESTIONS = 8;
const MAIN = join(import.meta.dir, "../cmd/main.ts");
const SUBJECTS = [
  "a baker in Lisbon",
  "a lighthouse in winter",
  "the last bus to the coast",
  "a dog that learns to count",
];

const { values, positionals } = parseArgs({
  options: {
    rounds: { type: "string", default: "3" },
    tokens: { type: "string", default: "64" },
    questions: { type: "string", default: "16" },
    data: { type: "string" },
  },
  allowPositionals: true,
});
const [rounds, tokens, questions] = [Number(values.rounds), Number(values.tokens), Number(values.questions)];
const common = ["--quiet", "--json", "--device", DEVICE];

const Answered = v.object({ seconds: v.number(), tokens_per_s: v.number() });

/** A server, and what four clients are told by it. */
async function openServer(model: string) {
  const server = await ServerProcess.randlora([model, "--parallel", `${CLIENTS}`]);
  let asked = 100;
  const ask = (subject: string): Promise<number> => {
    // A prompt that no other round had from its first token on: nothing of it was computed before.
    return server.complete({ prompt: `${asked++} stories about ${subject}:`, max_tokens: tokens, temperature: 0 });
  };
  const rate = async (write: () => Promise<readonly number[]>): Promise<StepTime> => {
    const [start, core] = [performance.now(), await server.processorTime()];
    const written = (await write()).reduce((sum, count) => sum + count, 0);
    const seconds = (performance.now() - start) / 1000;
    // Of a token: texts may end before they have all.
    return { seconds: seconds / written, coreSeconds: ((await server.processorTime()) - core) / written };
  };
  return {
    alone: () =>
      rate(async () => {
        const counts: number[] = [];
        for (const subject of SUBJECTS) counts.push(await ask(subject));
        return counts;
      }),
    together: () => rate(() => Promise.all(SUBJECTS.map(ask))),
    close: () => server[Symbol.asyncDispose](),
  };
}

/** Questions of the length that the tasks' have. */
async function writeQuestions(folder: string): Promise<string> {
  const entries = Array.from({ length: questions }, (_, at) => {
    const [one, other] = [13 + 7 * at, 5 + 3 * at];
    const story = `A shop has ${one} boxes of oranges, sells ${other} of them before noon, and gets twice as many in the evening.`;
    const instruction = `Please answer the following question with true or false, question: ${story} Are there more than ${one} boxes at night?\n\nAnswer format: true/false`;
    return { instruction, input: "", output: "the correct answer is true", answer: "true" };
  });
  await mkdir(join(folder, "boolq"), { recursive: true });
  await writeFile(join(folder, "boolq/test.json"), JSON.stringify(entries));
  return folder;
}

async function answer(model: string, data: string, batchSize: number): Promise<StepTime> {
  const size = ["--beams", "1", "--batch-size", `${batchSize}`, "--limit", `${questions}`];
  const args = ["eval", "commonsense", model, "--data", data, ...size, ...common];
  const child = Bun.spawn([process.execPath, MAIN, ...args], { stdout: "pipe", stderr: "inherit" });
  const [text, status] = await Promise.all([child.stdout.text(), child.exited]);
  if (status !== 0) throw new RandloraError("file", `randlora ${args.join(" ")}: status ${status}`);
  const { seconds, tokens_per_s: rate } = v.parse(Answered, JSON.parse(text));
  const written = rate * seconds;
  return {
    seconds: seconds / written,
    coreSeconds: Number(child.resourceUsage()?.cpuTime.total ?? 0n) / 1e6 / written,
  };
}

const model = positionals[0] ?? (await smollm2());
process.stdout.write(renderMachine(await machine()));
const note = (line: string): void => void (process.stderr.isTTY && process.stderr.write(`\r\x1b[K${line}`));
const folder = await mkdtemp(join(tmpdir(), "randlora-batches-"));
try {
  const server = await openServer(model);
  const serving = await inRounds(
    new Map([
      ["alone", server.alone],
      ["together", server.together],
    ]),
    rounds,
    note,
  );
  await server.close();
  const data = values.data ?? (await writeQuestions(folder));
  const answering = await inRounds(
    new Map([
      ["alone", () => answer(model, data, 1)],
      ["together", () => answer(model, data, QUESTIONS)],
    ]),
    rounds,
    note,
  );
  const row = (name: string, times: ReadonlyMap<string, Timed>, least: number) => {
    const [alone, together] = [times.get("alone")?.median, times.get("together")?.median];
    const rate = (seconds = NaN) => formatNumber(1 / seconds, 1);
    const gain = (alone?.seconds ?? NaN) / (together?.seconds ?? NaN);
    const core = (of: Timed["median"] | undefined) => formatNumber(1000 * (of?.coreSeconds ?? NaN), 1);
    const coreGain = (alone?.coreSeconds ?? NaN) / (together?.coreSeconds ?? NaN);
    const verdict = `≥ ${least}: ${gain >= least ? "met" : "missed"}`;
    const ofClock = [rate(alone?.seconds), rate(together?.seconds), formatNumber(gain, 2)];
    return [name, ...ofClock, core(alone), core(together), formatNumber(coreGain, 2), verdict];
  };
  const words = "alone: tokens/s,together,ratio,alone: core ms a token,together,ratio,target";
  const head = [`median of ${rounds}`, ...words.split(",")];
  const rows = [
    row(`serve, ${CLIENTS} clients`, serving, LEAST.serve),
    row(`eval commonsense, batches of ${QUESTIONS}`, answering, LEAST.eval),
  ];
  process.stdout.write(`\n${formatTable(rows, { head, align: "lrrrrrrl" })}`);
} finally {
  await rm(folder, { recursive: true });
}
