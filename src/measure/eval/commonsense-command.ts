import { chooseModel, loadModel } from "../../chat/default-model.ts";
import { readStopIds } from "../../data/text/stop.ts";
import { RandloraError } from "../../files/errors.ts";
import { nearest } from "../../files/nearest.ts";
import { localPath } from "../../models/folder/local-path.ts";
import { firstThenOthers, type Processes } from "../../mpi/processes.ts";
import { formatAmount, formatNumber } from "../../terminal/format.ts";
import type { Context } from "../../terminal/options/command.ts";
import { sharedByTasks } from "../../terminal/options/shared-parts.ts";
import { refuseOtherDevice } from "../../terminal/options/shared-work.ts";
import { showProfiled } from "../../terminal/profile.ts";
import type { Progress } from "../../terminal/progress.ts";
import type { Style } from "../../terminal/style.ts";
import { formatTable } from "../../terminal/table.ts";
import { weightsIn } from "../inputs.ts";
import { isTask, type Question, readQuestions, TASK_NAMES, type TaskName, AnswersFile } from "./commonsense-tasks.ts";
import { askTogether, type CommonsenseOptions, scoresOf } from "./commonsense.ts";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { CommonsenseFlags, CommonsenseJson, TaskScore } from "./options.ts";

/** Answers the tasks, and says how many answers are right. @throws RandloraError `usage`, `file`, `data`; as `loadModel` */
export async function evalCommonsense(
  source: string,
  options: CommonsenseFlags,
  context: Context<CommonsenseJson>,
): Promise<void> {
  const { job, jobs, parts, out, resume, force: _force, ...asked } = options;
  if (parts !== undefined && (out !== undefined || resume)) {
    const cause = `--parts and ${out === undefined ? "--resume" : "--out"}: tasks keep their answers in the folder`;
    throw new RandloraError("usage", cause, "leave it out; a task that is started again goes on by itself");
  }
  await sharedByTasks(
    context,
    { job, jobs, parts },
    { COMMAND: "commonsense", MODEL: source, ...asked },
    [],
    (processes, own) => evalShare(source, options, own, processes),
  );
}

/** The same, in each of the processes that share it; the first one writes the file. */
async function evalShare(
  source: string,
  options: CommonsenseFlags,
  context: Context,
  processes: Processes,
): Promise<void> {
  const { data, tasks, limit, adapter, scale: scales, generator, out, resume, force } = options;
  if (data === undefined) throw new RandloraError("usage", "--data is missing", "name the folder with TASK/test.json");
  if (out === undefined && (resume || force)) {
    throw new RandloraError("usage", `${resume ? "--resume" : "--force"} needs --out FILE`, "name the file");
  }
  const questions = await readAll(data, tasks, limit, context);
  // The others find in the cache what the first one fetches.
  const { location, adapters } = await firstThenOthers(processes, () =>
    chooseModel(
      { model: source, adapters: adapter, scales, generator },
      {
        model: (name) => localPath(name, "model", context),
        adapter: (name) => localPath(name, "adapter", context),
      },
    ),
  );
  const tasksRead = new Set(questions.map(({ task }) => join(data, task, "test.json")));
  const inputs = [...tasksRead, location.weights ?? location.folder, ...weightsIn(adapters.map(({ path }) => path))];
  const isWritten = out !== undefined && processes.rank === 0;
  await using file = !isWritten ? undefined : await AnswersFile.open(out, questions, { resume, force, inputs });
  const answers = [...(file?.answers ?? [])];
  const [first = 0] = await processes.each(answers.length);
  if (first > 0) context.log.info(`${first} of ${questions.length} answers are in ${file?.path} already`);
  await using model = await loadModel(location, { raw: true, kvType: options.kvType }, context);
  await refuseOtherDevice(processes, model.gpu);
  const notes = await model.setAdapters(adapters, { generator, signal: context.signal });
  for (const line of [...model.notes, ...notes]) context.log.warn(line);
  const { decoder, tokenizer } = model;
  const answerer = { decoder, tokenizer, stopTokens: await readStopIds(location.folder, tokenizer) };
  const started = performance.now();
  using bar: Progress = context.progress({ title: "answering", items: questions.length - first, unit: "questions" });
  let tokens: number;
  try {
    const asked = {
      beams: options.beams,
      batchSize: options.batchSize,
      paperMask: options.paperMask,
      maxTokens: options.maxTokens ?? 32,
      signal: context.signal,
      onTooLong: ({ place }, length) =>
        context.log.warn(`${place}: its prompt of ${length} tokens fills the model's context: counted as wrong`),
      async onAnswer(index, answer) {
        answers[index] = answer;
        bar.add({ items: 1 });
        await file?.add(index, answer);
      },
    } satisfies CommonsenseOptions;
    tokens = await askTogether(answerer, questions, first, asked, processes);
  } finally {
    // Whatever ended it: --resume goes on from here.
    await file?.save();
  }
  const seconds = (performance.now() - started) / 1000;
  bar.close();
  await file?.finish();
  const report = { ...scoresOf(questions, answers), seconds, tokens };
  await showProfiled(model.gpu, context, commonsenseJson(report), () => commonsenseText(report, context));
}

/** All questions, task by task. @throws {RandloraError} `usage` for an unknown task; as `readQuestions` */
async function readAll(
  folder: string,
  named: readonly string[] | undefined,
  limit: number | undefined,
  { log }: Context,
): Promise<readonly Question[]> {
  const asked = named?.map((name): TaskName => {
    if (isTask(name)) return name;
    const meant = nearest(name, TASK_NAMES);
    const hint = meant === undefined ? `known are ${TASK_NAMES.join(", ")}` : `did you mean ${meant}?`;
    throw new RandloraError("usage", `--tasks ${name}: no such task`, hint);
  });
  const has = (task: TaskName) => existsSync(join(folder, task, "test.json"));
  const tasks = TASK_NAMES.filter((task) => (asked === undefined ? has(task) : asked.includes(task)));
  if (tasks.length === 0) {
    const cause = `${folder}: no task's test.json is in it (boolq/test.json, …)`;
    throw new RandloraError("file", cause, "name the folder that holds the tasks' folders");
  }
  const missing = TASK_NAMES.filter((task) => !tasks.includes(task));
  if (asked === undefined && missing.length > 0) {
    log.warn(`${folder} lacks ${missing.join(", ")}: the mean is over the other tasks`);
  }
  const questions: (readonly Question[])[] = [];
  for (const task of tasks) questions.push(await readQuestions(folder, task, limit));
  return questions.flat();
}

/** What `eval commonsense` found. */
interface CommonsenseReport {
  /** By name, in the order of the papers' tables. */
  readonly tasks: ReadonlyMap<string, TaskScore>;
  /** Over tasks. */
  readonly mean: number;
  /** Of answering, and of answers that were given now. */
  readonly seconds: number;
  readonly tokens: number;
}

export function commonsenseJson({ tasks, mean, seconds, tokens }: CommonsenseReport): CommonsenseJson {
  return { tasks: Object.fromEntries(tasks), mean, seconds, tokens_per_s: seconds > 0 ? tokens / seconds : 0 };
}

/** A row a task, and the mean, in percent as the papers have it. */
export function commonsenseText(
  report: CommonsenseReport,
  { columns, style }: { columns: number; style: Style },
): string {
  const { tasks, mean, seconds, tokens } = report;
  const percent = (share: number) => `${(100 * share).toFixed(2)} %`;
  const rows = [...tasks].map(([name, { correct, total, accuracy }]) => [
    name,
    formatNumber(correct),
    formatNumber(total),
    percent(accuracy),
  ]);
  const head = ["task", "right", "of", "accuracy"];
  const all = [...rows, ["mean", "", "", percent(mean)]];
  const table = formatTable(all, { head, align: "lrrr", columns, markHead: style.dim });
  if (tokens === 0) return table;
  return `${table}${formatAmount(tokens, "token")} written, ${formatNumber(tokens / seconds, 1)} a second\n`;
}
