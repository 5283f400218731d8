import { join } from "node:path";
import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { isObject, type Json, type JsonObject, parseLossless } from "../../files/lossless-json.ts";
import { pythonStrip } from "../../files/python-json.ts";
import { readJsonText } from "../../files/read-whole.ts";

const ANSWERS = /answer1|answer2|answer3|answer4|answer5/;

/** What counts as an answer to each task, in the order of the papers' tables: the first match in the text, as it is written. */
export const TASKS = {
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
