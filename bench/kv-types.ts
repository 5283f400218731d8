/*
 * `bun bench/kv-types.ts [MODEL] [--rounds 7] [--texts 16]`: what the number format of the KV cache (`--kv-type`) changes: greedy texts
 * behind pieces of this project's documents and the logits where they part, the likelihood of one of these, memory, and how long a token
 * takes behind few and many. MODEL is the 135M chat model by default; RANDLORA_DEVICE says what computes.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ROOT } from "../interop/program.ts";
import { smollm2 } from "../interop/models.ts";
import { generateBatch } from "../src/chat/generation/batch.ts";
import { KV_NAMES, type KvName, NAMED_KV } from "../src/compute/device/dtype.ts";
import { loadTokenizer } from "../src/data/text/load-tokenizer.ts";
import { itemAt } from "../src/files/item-at.ts";
import { perplexity } from "../src/measure/eval/perplexity.ts";
import { Batch } from "../src/models/decoder/cache/batch.ts";
import { kvBytes, PROMPT_BLOCK } from "../src/models/decoder/cache/layer-cache.ts";
import { Decoder } from "../src/models/decoder/decoder.ts";
import { formatBytes, formatNumber } from "../src/terminal/format.ts";
import { formatTable } from "../src/terminal/table.ts";
import { openBenchDevice } from "./device.ts";
import { machine, renderMachine } from "./harness.ts";
import { inRounds, timed, type TimedStep } from "./training/rounds.ts";
import { bestOf, logitsAfter } from "../src/models/testing/logits.ts";

/** Tokens of a prompt, and of what is written behind it. */
const [PROMPT, WRITTEN] = [256, 128];
/** Tokens of a document whose likelihood is taken. */
const LIKELIHOODS = 8192;
/** Tokens that another one is computed behind. */
const BEFORE = [64, 1024, 4096];

const { values, positionals } = parseArgs({
  options: { rounds: { type: "string", default: "7" }, texts: { type: "string", default: "16" } },
  allowPositionals: true,
});
const model = positionals[0] ?? (await smollm2());
process.stdout.write(renderMachine(await machine()));
await using device = await openBenchDevice();
const tokenizer = await loadTokenizer(model);
const read = async (name: string) => tokenizer.encode(await Bun.file(join(ROOT, name)).text());
const document = [...(await read("docs/interface.md"))];
const decoders = new Map<KvName, Decoder>();
for (const name of KV_NAMES) decoders.set(name, await Decoder.load(device, model, { kvDtype: NAMED_KV[name] }));
const of = (name: KvName): Decoder => decoders.get(name) ?? itemAt([...decoders.values()], 0);

const prompts = Array.from({ length: Number(values.texts) }, (_, at) =>
  document.slice((at * 331) % (document.length - PROMPT)).slice(0, PROMPT),
);
const texts = new Map<KvName, (readonly number[])[]>();
for (const [name, decoder] of decoders) {
  const written: (readonly number[])[] = [];
  const options = { maxTokens: WRITTEN, stopTokens: new Set<number>() };
  await generateBatch(decoder, prompts, options, ({ index, tokens }) => void (written[index] = tokens));
  texts.set(name, written);
}

/** How far the best token is from the next one by F32, where texts part. */
async function marginAt(prompt: readonly number[], written: readonly number[]): Promise<number> {
  const decoder = of("f32");
  const { logits } = bestOf(await logitsAfter(decoder, [...prompt, ...written]), 2);
  return itemAt(logits, 0) - itemAt(logits, 1);
}

const wanted = texts.get("f32") ?? [];
const rows: string[][] = [];
for (const [name, decoder] of decoders) {
  const parted: { at: number; margin: number }[] = [];
  for (const [index, found] of (texts.get(name) ?? []).entries()) {
    const own = itemAt(wanted, index);
    const at = own.findIndex((token, position) => token !== found[position]);
    if (at >= 0) parted.push({ at, margin: await marginAt(itemAt(prompts, index), own.slice(0, at)) });
  }
  const { nll } = await perplexity(decoder, document.slice(0, LIKELIHOODS), { context: 1024, beginning: undefined });
  rows.push([
    name,
    `${prompts.length - parted.length} of ${prompts.length}`,
    parted.length === 0 ? "" : formatNumber(Math.max(...parted.map(({ margin }) => margin)), 4),
    formatNumber(nll, 6),
    formatBytes(kvBytes(decoder.config, 8192, decoder.kvDtype, 1)),
  ]);
}
const head = ["keys and values", "texts as in f32", "largest margin", "nats a token", "8,192 tokens take"];
process.stdout.write(`\n${formatTable(rows, { head, align: "lrrrr" })}`);

await using batches = new AsyncDisposableStack();
const contenders = new Map<string, TimedStep>();
for (const before of BEFORE) {
  for (const [name, decoder] of decoders) {
    const batch = batches.use(new Batch(decoder, { rows: 1, positions: before + 2 * PROMPT_BLOCK }));
    const slot = batch.pool.acquire();
    for (let at = 0; at < before; at += PROMPT_BLOCK) {
      await batch.pass([], {
        slot,
        ids: document.slice(at, Math.min(before, at + PROMPT_BLOCK)),
        sequenceLength: before + 1,
      });
    }
    const behind = (step: () => Promise<unknown>) => async () => {
      const time = await timed(async () => {
        await step();
        await device.idle();
      });
      slot.truncate(before);
      return time;
    };
    const token = { slot, id: 7, top: 1, all: false, lse: false };
    contenders.set(
      `a token behind ${formatNumber(before)}, ${name}`,
      behind(() => batch.pass([token])),
    );
    contenders.set(
      `256 of a prompt behind ${formatNumber(before)}, ${name}`,
      behind(() => batch.pass([], { slot, ids: document.slice(0, 256), sequenceLength: before + 257 })),
    );
  }
}
const note = (line: string): void => void (process.stderr.isTTY && process.stderr.write(`\r\x1b[K${line}`));
const times = await inRounds(contenders, Number(values.rounds), note);
const ms = (seconds: number): string => formatNumber(1000 * seconds, 1);
const speeds = [...times].map(([name, { median }]) => [name, ms(median.seconds), ms(median.coreSeconds)]);
process.stdout.write(`\n${formatTable(speeds, { head: ["a pass over", "ms", "core ms"], align: "lrr" })}`);
