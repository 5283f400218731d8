import { isatty } from "node:tty";
import { Contradiction, RandloraError } from "../src/files/errors.ts";
import { parseHubName } from "../src/files/hub/name.ts";
import { type Context, defineCommand, flag, required, text } from "../src/terminal/options/command.ts";
import { escaped } from "../src/files/visible.ts";
import { readInput } from "../src/terminal/read-input.ts";

/** `randlora tokenize`: shows how a model's tokenizer cuts a text. */
export const command = defineCommand({
  name: "tokenize",
  summary: "Show the token ids of a text; needs no weights",
  example: 'randlora tokenize HuggingFaceTB/SmolLM2-135M-Instruct -p "Once upon a time"',
  arguments: {
    model: required("MODEL", "a model's folder or one of its files, or org/name on the Hub"),
  },
  options: {
    prompt: text({ short: "p", topic: "Text", help: "text to tokenize", defaultText: "what comes on stdin" }),
    file: text({ short: "f", value: "F", topic: "Text", help: "text file (UTF-8), read byte for byte; - is stdin" }),
    noSpecial: flag({ topic: "Text", help: "do not add special tokens" }),
  },
  async run({ model }, { prompt, file, noSpecial }, context) {
    const { locateModel } = await import("../src/models/folder/locate.ts");
    const { loadTokenizer } = await import("../src/data/text/load-tokenizer.ts");
    if (prompt !== undefined && file !== undefined) {
      throw new Contradiction(["prompt", "file"], "-p and --file both give the text", "leave one of them out");
    }
    const { localPath } = await import("../src/models/folder/local-path.ts");
    const path = parseHubName(model) === undefined ? await localPath(model, "model", context) : model;
    const { folder } = await locateModel(path, fetchTokenizer(context));
    const tokenizer = await loadTokenizer(folder);
    const input = prompt ?? (await inputOf(file));
    const own = tokenizer.encode(input, { special: false });
    const ids = noSpecial ? own : tokenizer.encode(input);
    // The text comes back as it went in: what the tokenizer puts around it is not part of it.
    context.result({ ids, text: tokenizer.decode(own) }, () => {
      const width = String(tokenizer.vocabSize - 1).length;
      return ids.map((id) => `${String(id).padStart(width)} ${escaped(tokenizer.idToToken(id) ?? "")}\n`).join("");
    });
  },
});

/** Fetches only what tokenizing needs. */
function fetchTokenizer(context: Context) {
  return async (name: { readonly repo: string; readonly revision: string }): Promise<string> => {
    const { showingDownloads } = await import("../src/files/hub/report.ts");
    const { resolveModel } = await import("../src/files/hub/resolve.ts");
    return showingDownloads(context, (options) => resolveModel(name, { ...options, weights: false }));
  };
}

async function inputOf(file: string | undefined): Promise<string> {
  if (file === undefined && isatty(0)) {
    throw new RandloraError("usage", "no text", 'give it with -p "…", with --file F, or on stdin');
  }
  return await readInput(file ?? "-");
}
