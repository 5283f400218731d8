import { describeDefaultModel, findDefaultModel } from "../../chat/default-model.ts";
import { sayQuantized } from "../../chat/load-model.ts";
import { openDevice } from "../../compute/open-device.ts";
import { loadTokenizer } from "../../data/text/load-tokenizer.ts";
import { SAMPLE_FIELDS } from "../../data/text/samples/kinds.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine, shellWord } from "../../files/failure.ts";
import { loadConfig } from "../../models/decoder/architectures/index.ts";
import { localPath } from "../../models/folder/local-path.ts";
import { locateModel } from "../../models/folder/locate.ts";
import { readRun } from "../../models/folder/run.ts";
import { firstThenOthers, type Processes } from "../../mpi/processes.ts";
import type { Context } from "../../terminal/options/command.ts";
import type { Progress } from "../../terminal/progress.ts";
import { sharedByTasks } from "../../terminal/options/shared-parts.ts";
import { readInput } from "../../terminal/read-input.ts";
import { comparePerplexity } from "./compare.ts";
import { perplexityJson, perplexityText } from "./perplexity-report.ts";
import { windowSize } from "./perplexity.ts";
import type { PerplexityFlags } from "./options.ts";

/** Measures how well a model predicts a text. @throws RandloraError `usage` for flags that contradict each other; as `comparePerplexity` */
export async function evalPerplexity(
  argument: string | undefined,
  options: PerplexityFlags,
  context: Context,
): Promise<void> {
  const { file, job, jobs, parts, ...asked } = options;
  const files = file === undefined || file === "-" ? [] : [file];
  if (file === "-" && parts !== undefined) {
    throw new RandloraError("usage", "--file -: tasks cannot share what comes from stdin", "give a file");
  }
  await sharedByTasks(
    context,
    { job, jobs, parts },
    { COMMAND: "perplexity", MODEL: argument, file, ...asked },
    files,
    (processes, own) => evalShare(argument, options, own, processes),
  );
}

/** The same, in each of the processes that share it. */
async function evalShare(
  argument: string | undefined,
  options: PerplexityFlags,
  context: Context,
  processes: Processes,
): Promise<void> {
  const { file, context: asked, scale, generator, merged, quantize, kvType } = options;
  if (file === undefined) throw new RandloraError("usage", "--file is missing", "name the text to predict");
  const given = argument ?? (await findDefaultModel(process.cwd()));
  if (argument === undefined) context.log.info(describeDefaultModel(given));
  // A run stands for the model that it was made from, with what it trained.
  const run = await readRun(given);
  if (run.adapter !== undefined && options.adapter !== undefined) {
    throw new RandloraError("usage", `${given}: a run, and another --adapter`, `name the model: ${run.model}`);
  }
  const { place, adapter: named = options.adapter } = run;
  if (named === undefined && (merged || generator !== undefined || scale !== undefined)) {
    const flagged = merged ? "--merged" : generator !== undefined ? "--generator" : "--scale";
    throw new RandloraError("usage", `${flagged} needs an adapter`, "name it with --adapter");
  }
  if (merged && quantize !== undefined) {
    const message = `--merged and --quantize ${quantize}: adapters are merged into weights as stored`;
    throw new RandloraError("usage", message, "merge (randlora merge), and measure the merged model with --quantize");
  }
  // The others find in the cache what the first one fetches.
  const { location, adapter } = await firstThenOthers(processes, async () => ({
    location: await locateModel(await localPath(place, "model", context)),
    adapter: named === undefined ? undefined : { path: await localPath(named, "adapter", context), scale: scale ?? 1 },
  }));
  const size = windowSize(await loadConfig(location.folder), asked);
  const tokenizer = await loadTokenizer(location.folder);
  const text = await readInput(file);
  if (file !== "-" && isSamples(text)) {
    const word = shellWord(file);
    const hint = `eval chats --data ${word} measures samples; as plain text: eval perplexity --file - < ${word}`;
    throw new RandloraError("usage", `--file ${oneLine(file)}: its lines are JSON samples, not a text`, hint);
  }
  const ids = tokenizer.encode(text);
  const { device, signal } = context;
  let bar: Progress | undefined;
  try {
    const found = await comparePerplexity(ids, {
      beginning: tokenizer.beginning,
      location,
      adapter,
      generator,
      merged,
      quantize,
      kvType,
      open: () => openDevice(device),
      context: size,
      processes,
      onPasses: (passes) => {
        const items = Math.ceil((passes * ids.length) / processes.size);
        const unit = passes === 1 ? "tokens" : `tokens, the text ${passes} times`;
        bar = context.progress({ title: "predicting", items, unit });
      },
      onTokens: (items) => bar?.add({ items }),
      signal,
    });
    bar?.close();
    for (const note of found.notes) context.log.warn(note);
    await sayQuantized(found.quantized, quantize, context);
    context.result(perplexityJson(found), () => perplexityText(found, size, context));
  } finally {
    bar?.close();
  }
}

/** Is its first line an object with fields of training samples? */
function isSamples(text: string): boolean {
  const [line = ""] = text.split("\n", 1);
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null && SAMPLE_FIELDS.some((name) => Object.hasOwn(value, name));
  } catch {
    return false;
  }
}
