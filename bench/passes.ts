/*
 * `bun bench/passes.ts [MODEL] [--rounds 15]`: what a pass takes by the texts that are written together, one token of each, and by
 * the length of a prompt, and by several prompts or both in one pass, where the device mixes them. MODEL is the 135M chat model by default; RANDLORA_DEVICE says what computes. Prints milliseconds by the
 * clock and of processor time.
 */
import { parseArgs } from "node:util";
import { smollm2 } from "../interop/models.ts";
import { Batch } from "../src/models/decoder/cache/batch.ts";
import { Decoder } from "../src/models/decoder/decoder.ts";
import type { Slot } from "../src/models/decoder/cache/slot.ts";
import { formatNumber } from "../src/terminal/format.ts";
import { formatTable } from "../src/terminal/table.ts";
import { openBenchDevice } from "./device.ts";
import { machine, renderMachine } from "./harness.ts";
import { inRounds, timed, type TimedStep } from "./training/rounds.ts";

const TEXTS = [1, 2, 4, 8, 16] as const;
/** Tokens of prompts, and of those that the texts go on from. */
const PROMPTS = [8, 12, 24, 32, 48, 192] as const;
/** Prompts of so many tokens that are read together. */
const TOGETHER = { prompts: 4, tokens: 48 } as const;
/** Texts beside which a piece of a prompt is read. */
const BESIDE = 4;
const BEFORE = 64;

const { values, positionals } = parseArgs({
  options: { rounds: { type: "string", default: "15" } },
  allowPositionals: true,
});
const model = positionals[0] ?? (await smollm2());
process.stdout.write(renderMachine(await machine()));
await using device = await openBenchDevice();
const decoder = await Decoder.load(device, model);
await using batches = new AsyncDisposableStack();

const ids = (count: number, seed: number) =>
  Array.from({ length: count }, (_, at) => (7 * at + seed) % decoder.config.vocabularySize);

/** A batch that has its slots, with prompts in them. */
async function open(texts: number, prompt: number): Promise<{ batch: Batch; slots: readonly Slot[] }> {
  const batch = batches.use(new Batch(decoder, { rows: texts, positions: 256 * texts }));
  const slots: Slot[] = [];
  for (let at = 0; at < texts; at++) {
    const slot = batch.pool.acquire();
    if (prompt > 0) await batch.pass([], { slot, ids: ids(prompt, at), sequenceLength: prompt + 1 });
    slots.push(slot);
  }
  await device.idle();
  return { batch, slots };
}

const contenders = new Map<string, TimedStep>();
for (const texts of TEXTS) {
  const { batch, slots } = await open(texts, BEFORE);
  contenders.set(texts === 1 ? "a token" : `a token of each of ${texts}`, async () => {
    const time = await timed(async () => {
      await batch.pass(slots.map((slot, id) => ({ slot, id, top: 1, all: false, lse: false })));
    });
    for (const slot of slots) slot.truncate(BEFORE);
    return time;
  });
}
const { prompts, tokens: each } = TOGETHER;
for (const [count, tokens] of [...PROMPTS.map((tokens) => [1, tokens] as const), [prompts, each] as const]) {
  const { batch, slots } = await open(count, 0);
  contenders.set(count === 1 ? `a prompt of ${tokens}` : `${count} prompts of ${tokens}`, async () => {
    const time = await timed(async () => {
      await batch.pass([], ...slots.map((slot) => ({ slot, ids: ids(tokens, 1), sequenceLength: tokens + 1 })));
      await device.idle();
    });
    for (const slot of slots) slot.truncate(0);
    return time;
  });
}
for (const tokens of [12, 24, 48]) {
  const { batch, slots } = await open(BESIDE + 1, BEFORE);
  const [slot, ...others] = slots;
  if (slot === undefined || !batch.mixes) continue;
  slot.truncate(0);
  contenders.set(`a token of each of ${BESIDE}, and a prompt of ${tokens}`, async () => {
    const time = await timed(async () => {
      const next = others.map((one, id) => ({ slot: one, id, top: 1, all: false, lse: false }));
      await batch.pass(next, { slot, ids: ids(tokens, 1), sequenceLength: tokens + 1 });
    });
    slot.truncate(0);
    for (const one of others) one.truncate(BEFORE);
    return time;
  });
}

const note = (line: string): void => void (process.stderr.isTTY && process.stderr.write(`\r\x1b[K${line}`));
const times = await inRounds(contenders, Number(values.rounds), note);
const ms = (seconds: number): string => formatNumber(1000 * seconds, 1);
const rows = [...times].map(([name, { median }]) => [name, ms(median.seconds), ms(median.coreSeconds)]);
process.stdout.write(`\n${formatTable(rows, { head: ["a pass over", "ms", "core ms"], align: "lrr" })}`);
