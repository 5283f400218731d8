import { RandloraError } from "../src/files/errors.ts";
import { weightsIn } from "../src/measure/inputs.ts";
import type { Question, TaskName } from "../src/measure/eval/commonsense-tasks.ts";
import {
  choice,
  type Context,
  defineCommand,
  flag,
  integer,
  list,
  number,
  repeat,
  required,
  text,
} from "../src/terminal/options/command.ts";
import { GENERATOR_NAMES } from "../src/compute/random/names.ts";
import type { Progress } from "../src/terminal/progress.ts";
import { KV_TYPE_OPTION } from "../src/terminal/options/shared/kv-type.ts";
import { loadModel } from "../src/chat/load-model.ts";

/** `randlora eval commonsense`. */
export const commonsenseCommand = defineCommand({
  name: "commonsense",
  summary: "Answer the eight commonsense tasks of LLM-Adapters, as papers on LoRA do",
  example:
    "randlora eval commonsense Qwen/Qwen2-0.5B --adapter my-adapter --data LLM-Adapters/dataset --out answers.json",
  arguments: {
    model: required(
      "MODEL",
      "the model: a folder, an index.json, one .safetensors or .gguf file, a run, or org/name on the Hub",
    ),
  },
  options: {
    data: text({ value: "DIR", topic: "Tasks", help: "a folder with TASK/test.json" }),
    tasks: list(text({ value: "boolq,piqa,…", topic: "Tasks", help: "tasks to run", defaultText: "those in DIR" })),
    limit: integer({ topic: "Tasks", help: "number of questions of each task, the first ones", min: 1 }),
    adapter: repeat(
      text({ value: "A", topic: "Adapters", help: "adapter to merge first; may be given several times" }),
    ),
    scale: repeat(
      number({
        value: "S",
        topic: "Adapters",
        help: "adapter scale: multiplies α/r; once for all, or once for each adapter",
      }),
    ),
    generator: choice(GENERATOR_NAMES, {
      value: "NAME",
      topic: "Adapters",
      help: "random generator of the bases, if the adapter does not record it",
    }),
    beams: integer({
      topic: "Answers",
      help: "number of beams of the beam search; 1 is greedy decoding",
      min: 1,
      max: 64,
      default: 4,
    }),
    batchSize: integer({
      value: "B",
      topic: "Answers",
      help: "number of questions in a batch",
      min: 1,
      defaultText: "8",
    }),
    paperMask: flag({ topic: "Answers", help: "mask tokens of id 0 in prompts, as LLM-Adapters' script does" }),
    maxTokens: integer({
      short: "n",
      topic: "Answers",
      help: "maximum number of tokens in an answer",
      min: 1,
      defaultText: "32",
    }),
    kvType: KV_TYPE_OPTION,
    out: text({ short: "o", value: "FILE", topic: "Output", help: "file that each answer is written to as it comes" }),
    resume: flag({ topic: "Output", help: "continue from the answers in FILE" }),
    force: flag({ topic: "Output", help: "replace an existing FILE" }),
  },
  async run({ model: source }, options, context) {
    const { data, tasks, limit, adapter, scale: scales, generator, out, resume, force } = options;
    if (data === undefined)
      throw new RandloraError("usage", "--data is missing", "name the folder with TASK/test.json");
    if (out === undefined && (resume || force)) {
      throw new RandloraError("usage", `${resume ? "--resume" : "--force"} needs --out FILE`, "name the file");
    }
    const { join } = await import("node:path");
    const { AnswersFile } = await import("../src/measure/eval/answers-file.ts");
    const { askQuestions, scoresOf } = await import("../src/measure/eval/commonsense.ts");
    const { chooseModel } = await import("../src/chat/default-model.ts");
    const { localPath } = await import("../src/models/folder/local-path.ts");
    const { commonsenseJson, commonsenseText } = await import("../src/measure/eval/commonsense-report.ts");
    const { profileJson, profileText } = await import("../src/terminal/profile.ts");
    const { readStopIds } = await import("../src/data/text/stop.ts");
    const questions = await readAll(data, tasks, limit, context);
    const { location, adapters } = await chooseModel(
      { model: source, adapters: adapter, scales, generator },
      {
        model: (name) => localPath(name, "model", context),
        adapter: (name) => localPath(name, "adapter", context),
      },
    );
    const tasksRead = new Set(questions.map(({ task }) => join(data, task, "test.json")));
    const inputs = [...tasksRead, location.weights ?? location.folder, ...weightsIn(adapters.map(({ path }) => path))];
    const file = out === undefined ? undefined : await AnswersFile.open(out, questions, { resume, force, inputs });
    const answers = [...(file?.answers ?? [])];
    const first = answers.length;
    if (first > 0) context.log.info(`${first} of ${questions.length} answers are in ${file?.path} already`);
    await using model = await loadModel(location, { raw: true, kvType: options.kvType }, context);
    const notes = await model.setAdapters(adapters, { generator, signal: context.signal });
    for (const line of [...model.notes, ...notes]) context.log.warn(line);
    const { decoder, tokenizer } = model;
    const answerer = { decoder, tokenizer, stopTokens: await readStopIds(location.folder, tokenizer) };
    const started = performance.now();
    using bar: Progress = context.progress({ title: "answering", items: questions.length - first, unit: "questions" });
    let tokens: number;
    try {
      tokens = await askQuestions(answerer, questions, first, {
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
      });
    } finally {
      // Whatever ended it: --resume goes on from here.
      await file?.save();
    }
    const seconds = (performance.now() - started) / 1000;
    bar.close();
    await file?.finish();
    const report = { ...scoresOf(questions, answers), seconds, tokens };
    const times = (await model.gpu.profiler?.report()) ?? [];
    context.result({ ...commonsenseJson(report), ...profileJson(times) }, () => {
      return commonsenseText(report, context) + profileText(times, context.columns);
    });
  },
});

/** All questions, task by task. @throws {RandloraError} `usage` for an unknown task; as `readQuestions` */
async function readAll(
  folder: string,
  named: readonly string[] | undefined,
  limit: number | undefined,
  { log }: Context,
): Promise<readonly Question[]> {
  const { existsSync } = await import("node:fs");
  const { join } = await import("node:path");
  const { isTask, readQuestions, TASK_NAMES } = await import("../src/measure/eval/commonsense-tasks.ts");
  const { nearest } = await import("../src/files/nearest.ts");
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
