import { generateBatch } from "../../chat/generation/batch.ts";
import type { LanguageModel } from "../../chat/language-model.ts";
import { THOUGHT } from "../../chat/tools/message-parser.ts";
import type { DataSet, Sample } from "../../data/text/samples/types.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { gatherComputed, ownRange, type Processes } from "../../mpi/processes.ts";
import type { ChatAnswer, Match } from "./options.ts";

/** A sample as a question. */
interface Question {
  readonly line: number;
  readonly prompt: readonly number[];
  readonly expected: string;
}

export interface ChatOptions {
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
export async function lossOf(
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
export async function answerChats(
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
