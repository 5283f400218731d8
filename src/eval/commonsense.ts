import { generateBatch } from "../generate/batch.ts";
import type { Decoder } from "../models/decoder.ts";
import { evaluationPrompt } from "../text/commonsense-prompt.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { type Answer, judge, type Question, responseIn, type TaskName } from "./commonsense-tasks.ts";

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
  /** Tokens of an answer at most. */
  readonly maxTokens: number;
  /** Told each answer, with the number of its question, as answers end. */
  readonly onAnswer: (index: number, answer: Answer) => Promise<void>;
  /** Told a question whose prompt fills the model's context; its answer is empty, and wrong. */
  readonly onTooLong?: (question: Question, tokens: number) => void;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Asks the questions from number `first` on, task by task: LLM-Adapters' commonsense_evaluate.py, with transformers' beam
 * search, but for its attention mask, which hides tokens of id 0 wherever they stand.
 * @returns tokens that were written
 * @throws RandloraError as `generateBatch`; what `onAnswer` throws
 */
export async function askQuestions(
  { decoder, tokenizer, stopTokens }: Answerer,
  questions: readonly Question[],
  first: number,
  { beams, batchSize, maxTokens, onAnswer, onTooLong, signal }: CommonsenseOptions,
): Promise<number> {
  const { contextLength } = decoder.config;
  let written = 0;
  for (const numbers of byTask(questions, first)) {
    const asked: { readonly index: number; readonly question: Question; readonly ids: readonly number[] }[] = [];
    for (const index of numbers) {
      const question = questions[index];
      if (question === undefined) continue;
      const ids = tokenizer.encode(evaluationPrompt(question));
      if (ids.length < contextLength) asked.push({ index, question, ids });
      else {
        onTooLong?.(question, ids.length);
        await onAnswer(index, judge(question, ""));
      }
    }
    const prompts = asked.map(({ ids }) => ids);
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

/** The questions' numbers from `first` on, those of one task together. */
function byTask(questions: readonly Question[], first: number): number[][] {
  const tasks = new Map<TaskName, number[]>();
  for (const [index, { task }] of questions.entries()) {
    if (index < first) continue;
    const numbers = tasks.get(task) ?? [];
    numbers.push(index);
    tasks.set(task, numbers);
  }
  return [...tasks.values()];
}

/** How many answers to a task are right. */
export interface TaskScore {
  readonly correct: number;
  readonly total: number;
  /** From 0 to 1. */
  readonly accuracy: number;
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
