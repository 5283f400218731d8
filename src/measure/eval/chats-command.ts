import { statSync } from "node:fs";
import { chooseModel, describeDefaultModel, findDefaultModel, loadModel } from "../../chat/default-model.ts";
import { nameOf } from "../../data/records/data-files.ts";
import { locateData } from "../../data/text/samples/files.ts";
import { sayUnknownRoles } from "../../data/text/samples/load.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import { loadConfig } from "../../models/decoder/architectures/index.ts";
import { localPath } from "../../models/folder/local-path.ts";
import { firstThenOthers, type Processes } from "../../mpi/processes.ts";
import { formatAmount, formatNumber } from "../../terminal/format.ts";
import type { Context } from "../../terminal/options/command.ts";
import { sharedByTasks } from "../../terminal/options/shared-parts.ts";
import { refuseOtherDevice } from "../../terminal/options/shared-work.ts";
import { showProfiled } from "../../terminal/profile.ts";
import { readSamples } from "../analyze/samples.ts";
import { answerChats, lossOf } from "./chats.ts";
import type { ChatsFlags, ChatsReport } from "./options.ts";

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
