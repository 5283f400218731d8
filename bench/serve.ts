/*
 * `bun bench/serve.ts [MODEL] [--requests 200] [--adapters 3] [--longest 8000] [--answer 400] [--parallel 4] [--seed 1] [--smoke]
 * [--llama PYTHON]`: a real `randlora serve` under an open-loop load. Requests for the base and for adapters (random RandLoRA ones) arrive
 * by a Poisson process at 0.8 of the rate that the server answers when it always has some waiting; every tenth client leaves before
 * its answer has ended. Each answer is compared with the one that another server gives to the same request alone. MODEL is the 135M
 * chat model by default; `--smoke` is a load of seconds. With `--llama`, a Python that has xllamacpp, llama.cpp's server gets the
 * same requests at the same times, all of them for the base. Exit status 1 where an answer is lost or another one.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { smollm2 } from "../interop/models.ts";
import { writeAdapter } from "../src/adapters/merge/testing/models.ts";
import { loadTokenizer } from "../src/data/text/load-tokenizer.ts";
import { loadConfig } from "../src/models/decoder/architectures/index.ts";
import { attentionsOf } from "../src/models/decoder/config.ts";
import { formatNumber } from "../src/terminal/format.ts";
import { formatTable } from "../src/terminal/table.ts";
import { machine, renderMachine } from "./harness.ts";
import { writeGguf } from "./peers/gguf.ts";
import type { Seen } from "./serving/client.ts";
import { alone, crowded, open } from "./serving/drive.ts";
import { piecesWaited, SHORT } from "./serving/behind.ts";
import { arrivals, makeLoad, tokensOfText, uniform } from "./serving/load.ts";
import { type Bar, memoryBar, rowOf, rowOfBar, unevenness } from "./serving/report.ts";
import { ServerProcess } from "./serving/servers.ts";

/** Arrivals, as a part of what the server answers when it always has requests waiting. */
const LOAD = 0.8;
/** A short prompt waits for so many pieces of a long one at most. */
const MOST_PIECES = 2;

const SMOKE = { requests: "10", adapters: "1", longest: "300", answer: "12" };
const { values, positionals } = parseArgs({
  options: {
    requests: { type: "string" },
    adapters: { type: "string" },
    longest: { type: "string" },
    answer: { type: "string" },
    parallel: { type: "string", default: "4" },
    seed: { type: "string", default: "1" },
    smoke: { type: "boolean", default: false },
    llama: { type: "string" },
  },
  allowPositionals: true,
});
const size = {
  requests: "200",
  adapters: "3",
  longest: "8000",
  answer: "400",
  ...(values.smoke ? SMOKE : {}),
  ...values,
};
const [requests, adapters, longest] = [Number(size.requests), Number(size.adapters), Number(size.longest)];
const [answer, parallel, seed] = [Number(size.answer), Number(values.parallel), Number(values.seed)];
const note = (line: string): void => void process.stderr.write(`${line}\n`);

/** Sparse RandLoRA adapters on queries and values, of random parameters. */
async function writeAdapters(model: string, folder: string): Promise<readonly string[]> {
  const config = await loadConfig(model);
  const modules = Object.fromEntries(
    attentionsOf(config).flatMap(({ heads, kvHeads, headSize }, layer) => [
      [`model.layers.${layer}.self_attn.q_proj`, [heads * headSize, config.hiddenSize] as const],
      [`model.layers.${layer}.self_attn.v_proj`, [kvHeads * headSize, config.hiddenSize] as const],
    ]),
  );
  const names = Array.from({ length: adapters }, (_, at) => `adapter-${at + 1}`);
  for (const [at, name] of names.entries()) {
    await writeAdapter(join(folder, name), { r: 32, alpha: 640, seed: at + 1, size: 0.02, modules });
  }
  return names;
}

const model = positionals[0] ?? (await smollm2());
process.stdout.write(renderMachine(await machine()));
const folder = await mkdtemp(join(tmpdir(), "randlora-serve-"));
try {
  const tokenizer = await loadTokenizer(model);
  const load = makeLoad(tokenizer, { requests, models: adapters + 1, longest, answer, seed });
  const promptTokens = load.reduce((sum, { prompt }) => sum + prompt.length, 0);
  const names = await writeAdapters(model, folder);
  const named = names.flatMap((name) => ["--adapter", `${name}=${join(folder, name)}`]);
  const args = [model, ...named, "--slots", "--parallel", `${parallel}`, "--queue-length", `${requests + 1}`];
  const serve = async () => {
    const server = await ServerProcess.randlora(args);
    return { server, models: await server.models() };
  };
  note(`${requests} requests with ${promptTokens} tokens of prompts, one after the other`);
  const wanted: Seen[] = [];
  const bars: Bar[] = [];
  let rate: number;
  {
    const { server, models } = await serve();
    await using _ = server;
    wanted.push(...(await alone(server.address, models, load)));
  }
  const sample = load.slice(0, Math.ceil(requests / 4));
  note(`${sample.length} of them, ${2 * parallel} at a time`);
  {
    const { server, models } = await serve();
    await using _ = server;
    const seconds = await crowded(server.address, models, sample, 2 * parallel);
    const secondsOf = (seen: readonly Seen[]): number => seen.reduce((sum, one) => sum + one.seconds, 0);
    const [all, some] = [secondsOf(wanted), secondsOf(wanted.slice(0, sample.length))];
    // As much faster than one by one as these were.
    rate = requests / (all * (seconds / some));
    process.stdout.write(`capacity: ${formatNumber(rate, 3)} requests/s\n`);
    const name = `throughput, ${2 * parallel} at a time / one after the other`;
    bars.push({ name, found: some / seconds, wanted: 1, isLeast: true });
  }
  const times = arrivals(requests, LOAD * rate, seed + 1);
  const rows: (readonly string[])[] = [];
  note(`${formatNumber(LOAD * rate, 3)} requests/s, the last after ${formatNumber(times.at(-1) ?? 0)} s`);
  {
    const { server, models } = await serve();
    await using _ = server;
    const { seen, seconds } = await open(server.address, models, load, times);
    const peakBytes = await server.peakBytes();
    rows.push(rowOf({ name: "randlora", seen, seconds, peakBytes }, promptTokens));
    const lost = seen.flatMap(({ failure }) => failure ?? []);
    const others = seen.flatMap(({ text, failure }, at) => {
      const whole = wanted[at]?.text ?? "";
      const isSame = load[at]?.leavesAfter === undefined ? text === whole : whole.startsWith(text);
      return failure === undefined && !isSame ? [at] : [];
    });
    bars.push(
      { name: "requests lost", found: lost.length, wanted: 0 },
      { name: "answers other than alone", found: others.length, wanted: 0 },
      unevenness(seen),
      memoryBar(server.plannedBytes, peakBytes),
    );
    for (const reason of lost.slice(0, 5)) process.stdout.write(`lost: ${reason}\n`);
    for (const at of others.slice(0, 5)) {
      const { prompt = [], maxTokens = 0, temperature, model } = load[at] ?? {};
      process.stdout.write(
        `request ${at}: ${prompt.length} tokens, ${maxTokens} to write at temperature ${temperature}, ${models[model ?? 0]}\n`,
      );
      process.stdout.write(`alone:  ${JSON.stringify(wanted[at]?.text)}\nloaded: ${JSON.stringify(seen[at]?.text)}\n`);
    }
    if (lost.length + others.length > 0) process.exitCode = 1;
    note(`prompts of ${SHORT} tokens behind one of ${longest}`);
    const pieces = await piecesWaited(server.address, { model: models[0] ?? "", longest }, (tokens, at) =>
      tokensOfText(tokenizer, tokens, uniform(seed + 100 + at)),
    );
    const name = `pieces of a prompt of ${longest} tokens that one of ${SHORT} waits for`;
    bars.push({ name, found: pieces, wanted: MOST_PIECES });
  }
  if (values.llama !== undefined) {
    const file = join(folder, "model.gguf");
    await writeGguf(model, file);
    const { contextLength } = await loadConfig(model);
    const context = Math.min(contextLength, longest + answer);
    await using llama = await ServerProcess.llama(values.llama, [
      file,
      `${availableParallelism()}`,
      `${parallel}`,
      `${context}`,
    ]);
    note("the same at llama.cpp's server");
    const { seen, seconds } = await open(
      llama.address,
      ["base"],
      load.map((request) => ({ ...request, model: 0 })),
      times,
    );
    rows.push(rowOf({ name: "llama.cpp", seen, seconds, peakBytes: await llama.peakBytes() }, promptTokens));
    const lost = seen.filter(({ failure }) => failure !== undefined).length;
    process.stdout.write(`llama.cpp: ${lost} lost\n`);
  }
  const head = "seconds to first token: p50,p95,ms between tokens: p50,p95,ratio,tokens/s,prompt tokens/s,peak memory";
  process.stdout.write(`\n${formatTable(rows, { head: ["", ...head.split(",")], align: "lrrrrrrrr" })}`);
  process.stdout.write(`\n${formatTable(bars.map(rowOfBar), { head: ["bar", "found", "wanted", ""], align: "lrrl" })}`);
} finally {
  await rm(folder, { recursive: true, force: true });
}
