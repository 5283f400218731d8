import { statSync } from "node:fs";
import { chooseModel, describeDefaultModel, findDefaultModel, loadModel } from "../../chat/default-model.ts";
import { nameOf } from "../../data/records/data-files.ts";
import { locateData } from "../../data/text/samples/files.ts";
import { sayUnknownRoles } from "../../data/text/samples/load.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import { loadConfig } from "../../models/decoder/architectures/index.ts";
import { localPath } from "../../models/folder/local-path.ts";
import { firstThenOthers, type Processes, gatherComputed, ownRange } from "../../mpi/processes.ts";
import { formatAmount, formatNumber } from "../../terminal/format.ts";
import type { Context } from "../../terminal/options/command.ts";
import { sharedByTasks } from "../../terminal/options/shared-parts.ts";
import { refuseOtherDevice } from "../../terminal/options/shared-work.ts";
import { showProfiled } from "../../terminal/profile.ts";
import { readSamples } from "../analyze/samples.ts";
import type { ChatsFlags, ChatsReport, ChatAnswer, Match } from "./options.ts";
import { generateBatch } from "../../chat/generation/batch.ts";
import type { LanguageModel } from "../../chat/language-model.ts";
import { THOUGHT } from "../../chat/tools/message-parser.ts";
import type { DataSet, Sample } from "../../data/text/samples/types.ts";

/** Measures a model on held-out chats. @throws RandloraError `usage`, `file`, `data`; as `loadModel` */
export async function evalChats(
  argument: string | undefined,
  options: ChatsFlags,
  context: Context<ChatsReport>,
): Promise<void> {
  const { job, jobs, parts, data, ...asked } = options;
  if (data === undefined) throw new RandloraError("usage", "--data is missing", "name the file of held-out chats");
  const { train, valid, test } = await locateData({ data });
  const isFolder = statSync(data, { throwIfNoEntry: false })?.isDirectory() === true;
  const files = test ?? valid ?? (isFolder ? undefined : train);
  if (files === undefined) {
    const cause = `${oneLine(data)}: no test.jsonl nor valid.jsonl in this folder`;
    throw new RandloraError("file", cause, "name the file of held-out chats itself");
  }
  if (files !== train) context.log.info(`measured on ${nameOf(files)}`);
  const told = { COMMAND: "chats", MODEL: argument, data, ...asked };
  await sharedByTasks(context, { job, jobs, parts }, told, [...files], (processes, own) =>
    evalShare(argument, files, options, own, processes),
  );
}

/** The same, in each of the processes that share it. */
async function evalShare(
  argument: string | undefined,
  files: readonly string[],
  options: ChatsFlags,
  context: Context,
  processes: Processes,
): Promise<void> {
  const { adapter, scale: scales, generator, quantize, kvType, match, limit, maxTokens, batchSize } = options;
  const { log, signal } = context;
  const given = argument ?? (await findDefaultModel(process.cwd()));
  if (argument === undefined) log.info(describeDefaultModel(given));
  // The others find in the cache what the first one fetches.
  const { location, adapters } = await firstThenOthers(processes, () =>
    chooseModel(
      { model: given, adapters: adapter, scales, generator },
      {
        model: (name) => localPath(name, "model", context),
        adapter: (name) => localPath(name, "adapter", context),
      },
    ),
  );
  // What cannot be read is found out before a model is loaded.
  const { contextLength } = await loadConfig(location.folder);
  const data = await readSamples(location.folder, files, { most: limit, maxLength: contextLength, signal });
  const { samples, supervisedTokens: tokens, cut, dropped, unknownRoles } = data.totals;
  if (unknownRoles.length > 0) log.warn(sayUnknownRoles(data.totals));
  if (cut > 0) log.warn(`${cut} samples are longer than the model's context, and cut`);
  if (dropped > 0) log.warn(`${dropped} samples have no supervised tokens, and are left out`);
  await using model = await loadModel(location, { raw: true, kvType, quantize }, context);
  await refuseOtherDevice(processes, model.gpu);
  const notes = await model.setAdapters(adapters, { generator, signal });
  for (const line of [...model.notes, ...notes]) log.warn(line);
  const started = performance.now();
  const items = Math.ceil((2 * data.length) / processes.size);
  using bar = context.progress({ title: "measuring", items, unit: "samples, read and answered" });
  const asked = { match, maxTokens, batchSize, signal, processes, onDone: () => bar.add({ items: 1 }) };
  const loss = await lossOf(model, data, asked);
  const answers = await answerChats(model, data, asked);
  bar.close();
  const total = answers.length;
  if (total < samples) log.info(`${samples - total} samples have no prompt, and count in the loss alone`);
  const correct = answers.filter((answer) => answer.correct).length;
  const report: ChatsReport = {
    samples,
    tokens,
    loss,
    perplexity: Math.exp(loss),
    match,
    correct,
    total,
    accuracy: total === 0 ? null : correct / total,
    answers,
    seconds: (performance.now() - started) / 1000,
  };
  await showProfiled(model.gpu, context, report, () => chatsText(report));
}

/** Wrong answers that are shown. */
const SHOWN = 3;

function chatsText({ samples, tokens, loss, perplexity, match, correct, total, answers }: ChatsReport): string {
  const of = `${formatAmount(tokens, "supervised token")} of ${formatAmount(samples, "sample")}`;
  const lines = [`loss ${loss.toFixed(4)}, perplexity ${perplexity.toFixed(3)}: ${of}`];
  if (total === 0) return `${lines.join("\n")}\n`;
  const share = ((100 * correct) / total).toFixed(2);
  lines.push(`${match} match ${formatNumber(correct)} of ${formatNumber(total)}, ${share} %`);
  const wrong = answers.filter((answer) => !answer.correct);
  for (const { line, expected, text, finish_reason: reason } of wrong.slice(0, SHOWN)) {
    const end = reason === "length" ? " (cut at --max-tokens)" : "";
    lines.push("", `line ${line}`, `  expected ${quote(expected)}`, `  answered ${quote(text)}${end}`);
  }
  if (wrong.length > SHOWN) lines.push("", `${formatNumber(wrong.length - SHOWN)} more are wrong: see --json`);
  return `${lines.join("\n")}\n`;
}

/** A sample as a question. */
interface Question {
  readonly line: number;
  readonly prompt: readonly number[];
  readonly expected: string;
}

interface ChatOptions {
  readonly match: Match;
  /** Tokens of an answer at most. */
  readonly maxTokens: number;
  /** Prompts that are decoded together. */
  readonly batchSize?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** That share the samples. */
  readonly processes: Processes;
  /** Told of each sample that is scored, and each that is answered. */
  readonly onDone?: () => void;
}

/** The mean loss over all supervised tokens, as in training. @throws RandloraError as `Decoder.nll`; `numeric` */
async function lossOf(
  { decoder }: Pick<LanguageModel, "decoder">,
  data: DataSet,
  { signal, processes, onDone }: ChatOptions,
): Promise<number> {
  // Added in their order, whoever worked them out.
  const sums = await gatherComputed(processes, async () => {
    const own: number[] = [];
    const [from, end] = ownRange(processes, data.length);
    for (let i = from; i < end; i++) {
      const { ids, supervised } = data.sample(i);
      using cache = decoder.createCache();
      const values = await decoder.nll(cache, [...ids], signal === undefined ? {} : { signal });
      own.push(values.reduce((sum, value, at) => (supervised[at + 1] === 1 ? sum + value : sum), 0));
      onDone?.();
    }
    return own;
  });
  const loss = sums.reduce((sum, value) => sum + value, 0) / data.totals.supervisedTokens;
  if (Number.isFinite(loss)) return loss;
  throw new RandloraError("numeric", "the model's likelihoods are not finite", "are its weights damaged?");
}

/**
 * Asks for the last supervised turn of each sample, greedily, and compares. Samples without a prompt (plain texts) are left out.
 * @throws RandloraError `data` for a sample whose own answer is not the JSON that is to be matched; as `generateBatch`
 */
async function answerChats(
  { decoder, tokenizer, stopTokens }: Pick<LanguageModel, "decoder" | "tokenizer" | "stopTokens">,
  data: DataSet,
  { match, maxTokens, batchSize, signal, processes, onDone }: ChatOptions,
): Promise<readonly ChatAnswer[]> {
  const textOf = (ids: readonly number[]) => spoken(tokenizer.decode(ids, { skipSpecial: true }));
  const questions = Array.from({ length: data.length }, (_, i) => data.sample(i)).flatMap((sample): Question[] => {
    if (sample.format === "text") return [];
    const [start, end] = lastTurn(sample);
    const answer = [...sample.ids.subarray(start, end)].filter((id) => !stopTokens.has(id));
    return [{ line: sample.line, prompt: [...sample.ids.subarray(0, start)], expected: textOf(answer) }];
  });
  for (const { line, expected } of match === "json" ? questions : []) {
    if (jsonOf(expected) !== undefined) continue;
    const cause = `${oneLine(data.path)}: line ${line}: the answer is not JSON`;
    throw new RandloraError("data", cause, "leave --match json out: answers are then compared as texts");
  }
  const own = questions.slice(...ownRange(processes, questions.length));
  const compute = async () => {
    const said: Pick<ChatAnswer, "text" | "finish_reason">[] = [];
    const options = { maxTokens, stopTokens, signal, ...(batchSize === undefined ? {} : { batchSize }) };
    const prompts = own.map(({ prompt }) => prompt);
    await generateBatch(decoder, prompts, options, ({ index, tokens, finishReason }) => {
      said[index] = { text: textOf(tokens), finish_reason: finishReason };
      onDone?.();
    });
    return new TextEncoder().encode(JSON.stringify(said));
  };
  const parts = await processes.gather((await processes.recall?.()) ?? (await compute()));
  // What was encoded above, perhaps in another process of this program.
  const all = parts.flatMap((part) => JSON.parse(new TextDecoder().decode(part)) as Omit<ChatAnswer, "line">[]);
  return questions.map(({ line, expected }, at) => {
    const { text = "", finish_reason = "stop" } = all[at] ?? {};
    return { line, expected, text, finish_reason, correct: isRight(match, expected, text) };
  });
}

/** Where the last run of supervised tokens stands: the last assistant turn, or the completion. */
function lastTurn({ supervised }: Sample): readonly [start: number, end: number] {
  const end = supervised.lastIndexOf(1) + 1;
  return [supervised.lastIndexOf(0, end - 1) + 1, end];
}

/** Without white space around it, and without what was thought before. */
function spoken(text: string): string {
  const at = text.lastIndexOf(THOUGHT);
  return (at < 0 ? text : text.slice(at + THOUGHT.length)).trim();
}

function isRight(match: Match, expected: string, text: string): boolean {
  return match === "exact" ? expected === text : Bun.deepEquals(jsonOf(expected), jsonOf(text), true);
}

/** In an array, as `null` is JSON too; undefined: it is none. */
function jsonOf(text: string): readonly [unknown] | undefined {
  try {
    return [JSON.parse(text)];
  } catch {
    return undefined;
  }
}
