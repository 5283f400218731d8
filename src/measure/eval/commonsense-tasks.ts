import { join } from "node:path";
import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { isObject, type Json, type JsonObject, parseLossless, stringifyLossless } from "../../files/lossless-json.ts";
import { pythonStrip, pythonJson } from "../../files/python-json.ts";
import { readJsonText } from "../../files/read-whole.ts";
import { GrowingFile, type GrowingOptions } from "../../files/growing-file.ts";

const ANSWERS = /answer1|answer2|answer3|answer4|answer5/;

/** What counts as an answer to each task, in the order of the papers' tables: the first match in the text, as it is written. */
const TASKS = {
  boolq: /true|false/,
  piqa: /solution1|solution2/,
  social_i_qa: ANSWERS,
  hellaswag: /ending1|ending2|ending3|ending4/,
  winogrande: /option1|option2/,
  "ARC-Easy": ANSWERS,
  "ARC-Challenge": ANSWERS,
  openbookqa: ANSWERS,
} as const;

export type TaskName = keyof typeof TASKS;
export const TASK_NAMES = Object.keys(TASKS).filter((name): name is TaskName => name in TASKS);

/** Is this the name of a task? */
export function isTask(name: string): name is TaskName {
  return TASK_NAMES.some((known) => known === name);
}

/** One question. */
export interface Question {
  readonly task: TaskName;
  /** In words, for messages: `boolq: entry 3`. */
  readonly place: string;
  /** The entry as its file has it. */
  readonly entry: JsonObject;
  readonly instruction: string;
  readonly input: string;
  /** What is right. */
  readonly answer: string;
}

/** Files are held whole: hellaswag's, the largest, has 10 MB. */
const MOST_BYTES = 2 ** 28;
const HINT = "the file is an array of {instruction, input, output, answer}";

/**
 * Reads `folder/TASK/test.json`.
 * @param limit entries to take, the first ones
 * @throws RandloraError `file`; `format` for what is not JSON; `data` naming the entry that is no question
 */
export async function readQuestions(folder: string, task: TaskName, limit = Infinity): Promise<Question[]> {
  const path = join(folder, task, "test.json");
  const text = await readJsonText(path, MOST_BYTES, HINT);
  let value: Json;
  try {
    value = parseLossless(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new RandloraError("format", `${oneLine(path)}: not JSON: ${oneLine(reason)}`, HINT, { cause });
  }
  if (!Array.isArray(value)) throw new RandloraError("data", `${oneLine(path)}: not an array`, HINT);
  const entries: readonly Json[] = value;
  if (entries.length === 0) throw new RandloraError("data", `${oneLine(path)}: no entries`, HINT);
  return entries.slice(0, limit).map((entry, at) => {
    const place = `entry ${at + 1}`;
    const fail = (problem: string): never => {
      throw new RandloraError("data", `${oneLine(path)}: ${place}: ${problem}`, HINT);
    };
    if (!isObject(entry)) return fail("not an object");
    const textOf = (name: string): string => {
      const found = entry[name];
      return typeof found === "string" ? found : fail(found === undefined ? `no "${name}"` : `"${name}" is no text`);
    };
    const input = (entry["input"] ?? null) === null ? "" : textOf("input");
    return {
      task,
      place: `${task}: ${place}`,
      entry,
      instruction: textOf("instruction"),
      input,
      answer: textOf("answer"),
    };
  });
}

/** What a model wrote to a question. */
export interface Answer {
  /** The text, without white space around it. */
  readonly text: string;
  /** The answer that was found in it; empty where there is none. */
  readonly found: string;
  readonly isRight: boolean;
}

/** @param text what stands after the last `### Response:`, or what a file has of it */
export function judge({ task, answer }: Question, text: string): Answer {
  const found = TASKS[task].exec(text)?.[0] ?? "";
  return { text, found, isRight: found === answer };
}

/** The model's text in a prompt with its continuation, both decoded together. */
export function responseIn(whole: string): string {
  return pythonStrip(whole.slice(whole.lastIndexOf(RESPONSE) + RESPONSE.length));
}

const RESPONSE = "### Response:";

/** All answers of eight tasks have some 30 MB. */
const MOST_ANSWER_BYTES = 2 ** 29;
/** Milliseconds between two writes of the file, which is written whole. */
const SAVE_EVERY = 5000;
const INDENT = 4;

/** An entry with what was answered, as LLM-Adapters' commonsense_evaluate.py writes it. */
function answered({ entry }: Question, { text, found, isRight }: Answer): JsonObject {
  return { ...entry, output_pred: text, pred: found, flag: isRight };
}

/**
 * The answers so far, in the questions' order, as a file: byte for byte what the protocol's script dumps after the last of
 * them. It is whole at every moment, a few seconds behind.
 */
export class AnswersFile implements AsyncDisposable {
  readonly #file: GrowingFile;
  readonly #questions: readonly Question[];
  readonly #answers: (Answer | undefined)[];
  #done: number;
  #savedAt = -Infinity;
  #saved = -1;

  private constructor(file: GrowingFile, questions: readonly Question[], known: readonly Answer[]) {
    this.#file = file;
    this.#questions = questions;
    this.#answers = [...known];
    this.#done = known.length;
  }

  /**
   * Begins a file, or goes on with one: its answers are those of the first questions.
   * @throws RandloraError as `GrowingFile.open`; `data` for one that has other questions
   */
  static async open(path: string, questions: readonly Question[], options: GrowingOptions): Promise<AnswersFile> {
    const file = await GrowingFile.open(path, options);
    try {
      return new AnswersFile(file, questions, file.begun === undefined ? [] : await readAnswers(file.begun, questions));
    } catch (thrown) {
      await file[Symbol.asyncDispose]();
      throw thrown;
    }
  }

  /** Where answers are written until {@link finish}. */
  get path(): string {
    return this.#file.path;
  }

  /** What is known already: of the first questions. */
  get answers(): readonly Answer[] {
    return this.#answers.slice(0, this.#done).flatMap((answer) => answer ?? []);
  }

  /** Takes the answer to question `index`, in any order; writes the file now and then. @throws RandloraError `file` */
  async add(index: number, answer: Answer): Promise<void> {
    this.#answers[index] = answer;
    while (this.#answers[this.#done] !== undefined) this.#done++;
    if (performance.now() - this.#savedAt >= SAVE_EVERY) await this.save();
  }

  /** Writes the answers that follow each other from the first question on. @throws RandloraError `file` */
  async save(): Promise<void> {
    if (this.#saved === this.#done) return;
    const entries = this.answers.flatMap((answer, at) => {
      const question = this.#questions[at];
      return question === undefined ? [] : [answered(question, answer)];
    });
    await this.#file.save(pythonJson(entries, INDENT));
    this.#saved = this.#done;
    this.#savedAt = performance.now();
  }

  /** All answers are there. @throws RandloraError `file` */
  async finish(): Promise<void> {
    await this.save();
    await this.#file.finish();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file[Symbol.asyncDispose]();
  }
}

async function readAnswers(path: string, questions: readonly Question[]): Promise<Answer[]> {
  const name = oneLine(path);
  const hint = "name the file of the same tasks, data and --limit, or begin a new one without --resume";
  const text = await readJsonText(path, MOST_ANSWER_BYTES, hint);
  let value: Json;
  try {
    value = parseLossless(text);
  } catch (cause) {
    throw new RandloraError("format", `${name}: not JSON`, hint, { cause });
  }
  if (!Array.isArray(value)) throw new RandloraError("data", `${name}: not an array of answers`, hint);
  const entries: readonly Json[] = value;
  if (entries.length > questions.length) {
    const cause = `${entries.length} answers, but there are ${questions.length} questions`;
    throw new RandloraError("data", `${name}: ${cause}`, hint);
  }
  return entries.map((entry, at) => {
    const question = questions[at];
    const output = isObject(entry) ? entry["output_pred"] : undefined;
    const answer = question !== undefined && typeof output === "string" ? judge(question, output) : undefined;
    if (question !== undefined && answer !== undefined) {
      const wanted = answered(question, answer);
      if (stringifyLossless(entry, 0) === stringifyLossless(wanted, 0)) return answer;
    }
    throw new RandloraError("data", `${name}: entry ${at + 1} is no answer to ${question?.place ?? ""}`, hint);
  });
}
