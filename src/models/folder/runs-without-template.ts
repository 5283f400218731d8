import { join } from "node:path";
import { loadChatTemplate } from "../../data/text/chat-template.ts";
import { SAMPLE_FORMATS, type SampleFormat } from "../../data/text/samples/types.ts";
import { oneLine } from "../../files/failure.ts";
import { readOptionalJsonObject } from "../../files/read-text.ts";
import { runAround, SETTINGS_FILE } from "../../files/run-names.ts";

/**
 * The runs, of MODEL and adapters, that were trained on text as it stands, without the chat template: they are talked to
 * without it, unless one of the others was trained on chats.
 * @param paths runs, or the folders of their weights; whatever else is named says nothing
 * @throws RandloraError `file`, `format` for a run.json that cannot be read
 */
export async function runsWithoutTemplate(paths: readonly string[]): Promise<readonly string[]> {
  const runs = await Promise.all(paths.map(async (path) => ({ path, format: await sampleFormatOf(path) })));
  if (runs.some(({ format }) => format === "chat")) return [];
  return runs.flatMap(({ path, format }) => (format === undefined ? [] : [path]));
}

async function sampleFormatOf(path: string): Promise<SampleFormat | undefined> {
  const { sample_format } = await readOptionalJsonObject(join(runAround(path) ?? path, SETTINGS_FILE));
  return SAMPLE_FORMATS.find((one) => one === sample_format);
}

/**
 * What a model that runs were merged into does not tell: it has a chat template, and they were trained without.
 * @param folder the model's
 * @returns one line for the user; undefined where the template is right, or there is none
 */
export async function noteOfMergedRuns(
  folder: string,
  runs: readonly string[],
  out: string,
): Promise<string | undefined> {
  const raw = await runsWithoutTemplate(runs);
  if (raw.length === 0 || (await loadChatTemplate(folder).catch(() => undefined)) === undefined) return undefined;
  const names = raw.map(oneLine).join(", ");
  return `${names}: trained without the chat template; the merged model wants none either: randlora chat ${oneLine(out)} --raw`;
}
