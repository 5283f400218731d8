import { loadTokenizer } from "../../data/text/load-tokenizer.ts";
import { Contradiction, RandloraError } from "../../files/errors.ts";
import { parseHubName } from "../../files/hub/name.ts";
import { showingDownloads } from "../../files/hub/report.ts";
import { resolveModel } from "../../files/hub/resolve.ts";
import { escaped } from "../../files/visible.ts";
import { localPath } from "../../models/folder/local-path.ts";
import { locateModel } from "../../models/folder/locate.ts";
import type { Context } from "../../terminal/options/command.ts";
import { readInput } from "../../terminal/read-input.ts";
import { isatty } from "node:tty";

/** What `randlora tokenize` is told. */
export interface TokenizeFlags {
  readonly prompt: string | undefined;
  readonly file: string | undefined;
  readonly noSpecial: boolean;
}

/** Shows the token ids of a text. @param given the text, where it is an argument @throws RandloraError `usage` without a text, or with two; as `locateModel`, `loadTokenizer` */
export async function tokenize(
  model: string,
  given: string | undefined,
  { prompt, file, noSpecial }: TokenizeFlags,
  context: Context,
): Promise<void> {
  if (prompt !== undefined && file !== undefined) {
    throw new Contradiction(["prompt", "file"], "-p and --file both give the text", "leave one of them out");
  }
  if (given !== undefined && (prompt !== undefined || file !== undefined)) {
    const option = prompt === undefined ? "file" : "prompt";
    throw new Contradiction([option], `TEXT and --${option} both give the text`, "leave one of them out");
  }
  const path = parseHubName(model) === undefined ? await localPath(model, "model", context) : model;
  const { folder } = await locateModel(path, fetchTokenizer(context));
  const tokenizer = await loadTokenizer(folder);
  const input = given ?? prompt ?? (await inputOf(file));
  const own = tokenizer.encode(input, { special: false });
  const ids = noSpecial ? own : tokenizer.encode(input);
  // The text comes back as it went in: what the tokenizer puts around it is not part of it.
  const json: TokenizeJson = { ids, text: tokenizer.decode(own) };
  context.result(json, () => {
    const width = String(tokenizer.vocabSize - 1).length;
    return ids.map((id) => `${String(id).padStart(width)} ${escaped(tokenizer.idToToken(id) ?? "")}\n`).join("");
  });
}

/** @json tokenize */
interface TokenizeJson {
  readonly ids: readonly number[];
  /** Decoded. */
  readonly text: string;
}

/** Fetches only what tokenizing needs. */
function fetchTokenizer(context: Context) {
  return async (name: { readonly repo: string; readonly revision: string }): Promise<string> => {
    return showingDownloads(context, (options) => resolveModel(name, { ...options, weights: false }));
  };
}

async function inputOf(file: string | undefined): Promise<string> {
  if (file === undefined && isatty(0)) {
    throw new RandloraError("usage", "no text", 'randlora tokenize MODEL "…", --file F, or stdin');
  }
  return await readInput(file ?? "-");
}
