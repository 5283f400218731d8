/*
 * `bun bench/peers/inference.ts [MODEL] [--prefill 512] [--decode 64] [--rounds 3] [--record]`: llama.cpp and our decoder read a
 * prompt and write, in turn, with the same bf16 weights on the same cores. MODEL is the 135M chat model by default. Needs
 * `npm ci` in bench/peers.
 */
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import * as v from "valibot";
import { smollm2 } from "../../interop/models.ts";
import { RandloraError } from "../../src/files/errors.ts";
import { openBenchDevice } from "../device.ts";
import { DecodeLoop } from "../../src/chat/generation/decode-loop.ts";
import { DEFAULT_SAMPLING } from "../../src/chat/generation/sampling.ts";
import { SampledSequence } from "../../src/chat/generation/sampled-sequence.ts";
import { PROMPT_BLOCK } from "../../src/models/decoder/cache/layer-cache.ts";
import { Batch } from "../../src/models/decoder/cache/batch.ts";
import type { Decoder } from "../../src/models/decoder/decoder.ts";
import { loadDecoder } from "../../src/models/folder/load-decoder.ts";
import { formatNumber } from "../../src/terminal/format.ts";
import { formatTable } from "../../src/terminal/table.ts";
import { loadTokenizer } from "../../src/data/text/load-tokenizer.ts";
import { machine, renderMachine } from "../harness.ts";
import { inRounds, type Timed, timed } from "../training/rounds.ts";
import { readBandwidth } from "./bandwidth.ts";
import { writeGguf } from "./gguf.ts";
import { PeerProcess } from "./worker.ts";

/** llama.cpp computes, and memory is read, with as many threads as the machine of our targets has cores. */
const THREADS = 2;
/** Least part of llama.cpp's rates: on the CPU device, and on a software GPU. */
const LEAST = { cpu: { prefill: 0.7, decode: 1 }, software: { prefill: undefined, decode: 0.25 } } as const;
/** Least decoding rate with weights quantized to 8 bits, as a multiple of our own with the checkpoint's. */
const LEAST_Q8 = 1.5;
/** What is gone on with: a text that goes on for long, so that nobody comes to an end too soon. */
const PROMPT = "Once upon a time, in a small village by the sea, there lived a girl called Ada who";

const Ready = v.object({ ready: v.string() });
const Answer = v.object({ seconds: v.number(), coreSeconds: v.number(), tokens: v.array(v.number()) });

const { values, positionals } = parseArgs({
  options: {
    prefill: { type: "string", default: "512" },
    decode: { type: "string", default: "64" },
    rounds: { type: "string", default: "3" },
    record: { type: "boolean", default: false },
  },
  allowPositionals: true,
});
const folder = positionals[0] ?? (await smollm2());
const [prefill, decode, rounds] = [Number(values.prefill), Number(values.decode), Number(values.rounds)];
const note = (line: string): void => {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}`);
};
if (!existsSync(join(import.meta.dir, "node_modules", "node-llama-cpp"))) {
  throw new RandloraError("file", "llama.cpp is not there", "npm ci in bench/peers brings it");
}

const on = await machine();
process.stdout.write(renderMachine(on));
note("how fast memory is read");
const bandwidth = await readBandwidth(THREADS);
const scratch = await mkdtemp(join(tmpdir(), "randlora-llama-"));
try {
  note("writing the weights as GGUF");
  const file = join(scratch, "model.gguf");
  await writeGguf(folder, file);
  const prompt = (await loadTokenizer(folder)).encode(PROMPT);
  const context = Math.max(prefill, prompt.length + decode) + 16;
  await using llama = new PeerProcess(["node", join(import.meta.dir, "llama.mjs"), file, `${THREADS}`, `${context}`]);
  const { ready } = await llama.hello(Ready);
  using gpu = await openBenchDevice();
  using decoder = await loadDecoder(gpu, folder);
  using quantized = await loadDecoder(gpu, folder, { quantize: "Q8_0" });
  const { weights, config } = decoder;
  const long = Array.from({ length: prefill }, (_, at) => ((at + 1) * 7919) % config.vocabularySize);

  const written = new Map<"llama.cpp" | "ours", readonly number[]>();
  const contenders = new Map([
    ["llama.cpp prefill", async () => await llama.ask(JSON.stringify({ ids: long, decode: 0 }), Answer)],
    ["ours prefill", () => timed(() => readPrompt(decoder, long))],
    [
      "llama.cpp decode",
      async () => {
        const answer = await llama.ask(JSON.stringify({ ids: prompt, decode }), Answer);
        written.set("llama.cpp", answer.tokens);
        return answer;
      },
    ],
    ["ours decode", () => write(decoder, prompt, (tokens) => written.set("ours", tokens))],
    ["ours q8 decode", () => write(quantized, prompt, () => {})],
  ]);
  const times = await inRounds(contenders, rounds, note);
  note("");

  const [theirs, ours] = [written.get("llama.cpp") ?? [], written.get("ours") ?? []];
  const different = theirs.findIndex((token, at) => token !== ours[at]);
  const agreed = different === -1 ? theirs.length : different;
  process.stdout.write(`${ready}; the first ${agreed} of ${decode + 1} greedy tokens are the same\n`);
  process.stdout.write(`memory is read at ${formatNumber(bandwidth / 1e9, 1)} GB/s (${THREADS} threads, memchr)\n\n`);
  const rate = (name: string, tokens: number) => tokens / (times.get(name)?.median.seconds ?? Number.NaN);
  const perCore = (time: Timed | undefined, tokens: number) => tokens / (time?.median.coreSeconds ?? Number.NaN);
  const row = (job: "prefill" | "decode", tokens: number, target: number | undefined) => {
    const [other, own] = [rate(`llama.cpp ${job}`, tokens), rate(`ours ${job}`, tokens)];
    const verdict = target === undefined ? "" : `≥ ${target}: ${own / other >= target ? "met" : "missed"}`;
    const gigabytes = (of: number) => (job === "decode" ? formatNumber((of * weights.bytes) / 1e9, 2) : "");
    const share = job === "decode" ? `${formatNumber((100 * own * weights.bytes) / bandwidth, 0)} %` : "";
    const core = perCore(times.get(`ours ${job}`), tokens);
    const numbers = [formatNumber(other, 1), gigabytes(other), formatNumber(own, 1), gigabytes(own), share];
    return [`${job}, ${tokens} tokens`, ...numbers, formatNumber(core, 1), formatNumber(own / other, 2), verdict];
  };
  const head = [
    `median of ${rounds}`,
    "llama.cpp: tokens/s",
    "GB/s",
    "ours: tokens/s",
    "GB/s",
    "of memory's",
    "tokens/core s",
    "ratio",
    "target",
  ];
  const least = LEAST[gpu.staging.kind === "cpu" ? "cpu" : "software"];
  const rows = [row("prefill", prefill, least.prefill), row("decode", decode, least.decode)];
  process.stdout.write(formatTable(rows, { head, align: "lrrrrrrrl" }));
  const [bf16, q8] = [rate("ours decode", decode), rate("ours q8 decode", decode)];
  const verdict = `≥ ${LEAST_Q8}: ${q8 / bf16 >= LEAST_Q8 ? "met" : "missed"}`;
  process.stdout.write(
    `q8 decode: ${formatNumber(q8, 1)} tokens/s, ${formatNumber(q8 / bf16, 2)} of ours (${verdict})\n`,
  );
  if (values.record) {
    const date = new Date().toISOString().slice(0, 10);
    const measured = {
      prefill,
      decode,
      weightBytes: weights.bytes,
      bandwidth,
      agreed,
      results: Object.fromEntries(times),
    };
    const text = JSON.stringify(
      { date, machine: on, gpu: gpu.info, peer: ready, threads: THREADS, ...measured },
      null,
      2,
    );
    await Bun.write(join(import.meta.dir, `../results/peers-inference-${date}.json`), `${text}\n`);
    process.stdout.write(`written: bench/results/peers-inference-${date}.json\n`);
  }
} finally {
  await rm(scratch, { recursive: true, force: true });
}

/** To the last hidden state: llama.cpp computes no logits either when it is not asked to go on. */
async function readPrompt(decoder: Decoder, ids: readonly number[]): Promise<void> {
  using batch = new Batch(decoder, { rows: 1, positions: ids.length });
  const slot = batch.pool.acquire();
  for (let first = 0; first < ids.length; first += PROMPT_BLOCK) {
    await batch.pass([], { slot, ids: ids.slice(first, first + PROMPT_BLOCK), sequenceLength: ids.length });
  }
  await decoder.gpu.idle();
}

/** Greedily; the token that comes out of the prompt's pass is not timed. */
async function write(decoder: Decoder, prompt: readonly number[], keep: (tokens: readonly number[]) => void) {
  using loop = new DecodeLoop(decoder, { rows: 1, positions: prompt.length + decode + 1 });
  const sampling = { ...DEFAULT_SAMPLING, temperature: 0 };
  const options = { prompt, sampling, maxTokens: decode + 1, stopTokens: new Set<number>() };
  const sequence = new SampledSequence({ ...options, context: decoder.config.contextLength });
  const made = loop.write(sequence);
  const tokens: number[] = [];
  const next = async (): Promise<void> => {
    for (const { length } = tokens; tokens.length === length;) {
      const { done, value } = await made.next();
      if (done === true) return;
      if (value.kind === "token") tokens.push(value.id);
    }
  };
  await next();
  const time = await timed(async () => {
    while (tokens.length <= decode) await next();
  });
  keep(tokens);
  return time;
}
