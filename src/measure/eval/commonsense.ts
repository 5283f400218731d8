import { RandloraError } from "../../files/errors.ts";
import { generateBatch } from "../../chat/generation/batch.ts";
import type { Decoder } from "../../models/decoder/decoder.ts";
import { evaluationPrompt } from "../../data/text/commonsense-prompt.ts";
import type { Tokenizer } from "../../data/text/tokenizer.ts";
import type { Processes } from "../../mpi/processes.ts";
import { type Answer, judge, type Question, responseIn, type TaskName } from "./commonsense-tasks.ts";
import type { TaskScore } from "./options.ts";

/** Who is asked. */
export interface Answerer {
  readonly decoder: Decoder;
  readonly tokenizer: Tokenizer;
  /** Tokens that end an answer. */
  readonly stopTokens: ReadonlySet<number>;
}

export interface CommonsenseOptions {
  /** Of the beam search; 1: greedy. */
  readonly beams: number;
  /** Prompts that are decoded together. */
  readonly batchSize?: number | undefined;
  /** Hide what the protocol's script hides: see {@link visibleTo}. */
  readonly paperMask?: boolean | undefined;
  /** Tokens of an answer at most. */
  readonly maxTokens: number;
  /** Told each answer, with the number of its question, as answers end. */
  readonly onAnswer: (index: number, answer: Answer) => Promise<void>;
  /** Told a question whose prompt fills the model's context; its answer is empty, and wrong. */
  readonly onTooLong?: (question: Question, tokens: number) => void;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Asks the questions of these numbers, task by task: LLM-Adapters' commonsense_evaluate.py, with transformers' beam
 * search; its attention mask only with `paperMask`.
 * @returns tokens that were written
 * @throws RandloraError as `generateBatch`, and as {@link visibleTo}; what `onAnswer` throws
 */
export async function askQuestions(
  { decoder, tokenizer, stopTokens }: Answerer,
  questions: readonly Question[],
  numbers: readonly number[],
  { beams, batchSize, paperMask = false, maxTokens, onAnswer, onTooLong, signal }: CommonsenseOptions,
): Promise<number> {
  const { contextLength } = decoder.config;
  let written = 0;
  for (const ofTask of byTask(questions, numbers)) {
    const asked: { readonly index: number; readonly question: Question; readonly ids: readonly number[] }[] = [];
    for (const index of ofTask) {
      const question = questions[index];
      if (question === undefined) continue;
      const ids = tokenizer.encode(evaluationPrompt(question));
      if (ids.length < contextLength) asked.push({ index, question, ids });
      else {
        onTooLong?.(question, ids.length);
        await onAnswer(index, judge(question, ""));
      }
    }
    const prompts = asked.map(({ ids, question }) => (paperMask ? visibleTo(ids, stopTokens, question) : ids));
    const options = { beams, maxTokens, stopTokens, signal, ...(batchSize === undefined ? {} : { batchSize }) };
    if (prompts.length === 0) continue;
    await generateBatch(decoder, prompts, options, async ({ index: at, tokens }) => {
      const one = asked[at];
      if (one === undefined) throw new RangeError(`no prompt ${at}`);
      written += tokens.length;
      // Decoded with its prompt, since what a token's text is may depend on the one before it.
      const whole = tokenizer.decode([...one.ids, ...tokens], { skipSpecial: true });
      await onAnswer(one.index, judge(one.question, responseIn(whole)));
    });
  }
  return written;
}

/** The protocol's script calls this the padding, and passes no attention mask. */
const PAD = 0;

/**
 * What transformers lets a model see of a prompt that has no attention mask: all but the padding's id, wherever it stands,
 * unless that ends texts (`_prepare_attention_mask_for_generation`). Positions count what is seen, and nothing looks at what
 * is not: the same is left out here. (Where a window slides, transformers counts both.)
 * @throws RandloraError `data` for a prompt that ends with such a token, from which transformers goes on all the same
 */
export function visibleTo(
  ids: readonly number[],
  stopTokens: ReadonlySet<number>,
  { place }: Pick<Question, "place">,
): readonly number[] {
  if (stopTokens.has(PAD)) return ids;
  if (ids.at(-1) === PAD) {
    const hint = "leave --paper-mask out: nothing can follow a token that is hidden";
    throw new RandloraError("data", `${place}: its prompt ends with token ${PAD}, which is taken for padding`, hint);
  }
  return ids.filter((id) => id !== PAD);
}

/** Numbers of questions, those of one task together. */
function byTask(questions: readonly Question[], numbers: readonly number[]): number[][] {
  const tasks = new Map<TaskName, number[]>();
  for (const index of numbers) {
    const task = questions[index]?.task;
    if (task === undefined) throw new RangeError(`no question ${index}`);
    const others = tasks.get(task) ?? [];
    others.push(index);
    tasks.set(task, others);
  }
  return [...tasks.values()];
}

/**
 * Scores by task, in the questions' order, and their mean: over tasks, not over questions.
 * @param answers one a question
 */
export function scoresOf(
  questions: readonly Question[],
  answers: readonly Answer[],
): { readonly tasks: ReadonlyMap<TaskName, TaskScore>; readonly mean: number } {
  const tasks = new Map<TaskName, TaskScore>();
  for (const [index, { task }] of questions.entries()) {
    const before = tasks.get(task) ?? { correct: 0, total: 0 };
    const correct = before.correct + (answers[index]?.isRight === true ? 1 : 0);
    const total = before.total + 1;
    tasks.set(task, { correct, total, accuracy: correct / total });
  }
  const scores = [...tasks.values()];
  return { tasks, mean: scores.reduce((sum, { accuracy }) => sum + accuracy, 0) / scores.length };
}

/** Questions of each process before the answers are exchanged: so many are lost at most when all are killed. */
const ROUND = 128;

/** What came of a question. */
interface Said {
  readonly index: number;
  readonly text: string;
  /** Tokens of a prompt that fills the model's context. */
  readonly tooLong?: number;
}

/**
 * As {@link askQuestions} of the questions from number `first` on; each process asks its part of them, and all are told all
 * answers. What is answered does not depend on what else is asked.
 * @throws as `askQuestions`; EndedByOther
 */
export async function askTogether(
  answerer: Answerer,
  questions: readonly Question[],
  first: number,
  options: CommonsenseOptions,
  processes: Processes,
): Promise<number> {
  const { rank, size } = processes;
  const all = questions.map((_, index) => index).slice(first);
  if (size === 1) return await askQuestions(answerer, questions, all, options);
  let written = 0;
  for (let begin = 0; begin < all.length; begin += ROUND * size) {
    const compute = async () => {
      const said = new Map<number, Said>();
      const own = all.slice(begin, begin + ROUND * size).filter((_, at) => at % size === rank);
      const numbers = new Map(own.map((index) => [questions[index], index]));
      const tokens = await askQuestions(answerer, questions, own, {
        ...options,
        onTooLong: (question, tooLong) => {
          const index = numbers.get(question);
          if (index !== undefined) said.set(index, { index, text: "", tooLong });
        },
        onAnswer: async (index, { text }) => void said.set(index, { index, text, ...said.get(index) }),
      });
      return encode({ tokens, said: [...said.values()] });
    };
    const parts = await processes.gather((await processes.recall?.()) ?? (await compute()));
    const rounds = parts.map(decode);
    written += rounds.reduce((sum, round) => sum + round.tokens, 0);
    const inOrder = rounds.flatMap((round) => round.said).toSorted((a, b) => a.index - b.index);
    for (const { index, text, tooLong } of inOrder) {
      const question = questions[index];
      if (question === undefined) throw new RangeError(`no question ${index}`);
      if (tooLong !== undefined) options.onTooLong?.(question, tooLong);
      await options.onAnswer(index, judge(question, text));
    }
  }
  return written;
}

interface Round {
  readonly tokens: number;
  readonly said: readonly Said[];
}

function encode(round: Round): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(round));
}

function decode(bytes: Uint8Array): Round {
  // What `encode` made in another process of this program.
  return JSON.parse(new TextDecoder().decode(bytes)) as Round;
}
