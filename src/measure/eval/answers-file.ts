import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { isObject, type Json, type JsonObject, parseLossless, stringifyLossless } from "../../files/lossless-json.ts";
import { pythonJson } from "../../files/python-json.ts";
import { readJsonText } from "../../files/read-whole.ts";
import { GrowingFile, type GrowingOptions } from "../../files/growing-file.ts";
import { type Answer, judge, type Question } from "./commonsense-tasks.ts";

/** All answers of eight tasks have some 30 MB. */
const MOST_BYTES = 2 ** 29;
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
  const text = await readJsonText(path, MOST_BYTES, hint);
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
