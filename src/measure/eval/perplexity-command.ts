import { SAMPLE_FIELDS } from "../../data/text/samples/kinds.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine, shellWord } from "../../files/failure.ts";
import type { Context } from "../../terminal/options/command.ts";
import { readInput } from "../../terminal/read-input.ts";
import { givenTexts } from "./compare.ts";
import { measureTexts, perplexityJson, perplexityText } from "./measure-texts.ts";
import { windows, windowSize } from "./perplexity.ts";
import type { PerplexityFlags, PerplexityJson } from "./options.ts";

/** Measures how well a model predicts a text. @throws RandloraError as `measureTexts` */
export async function evalPerplexity(
  argument: string | undefined,
  options: PerplexityFlags,
  context: Context<PerplexityJson>,
): Promise<void> {
  const { file } = options;
  if (file === undefined) throw new RandloraError("usage", "--file is missing", "name the text to predict");
  await measureTexts(argument, options, context, {
    command: "perplexity",
    async textsOf({ context: asked }, { config, tokenizer }) {
      const size = windowSize(config, asked);
      const text = await readInput(file);
      if (file !== "-" && isSamples(text)) {
        const word = shellWord(file);
        const hint = `eval chats --data ${word} measures samples; as plain text: eval perplexity --file - < ${word}`;
        throw new RandloraError("usage", `--file ${oneLine(file)}: its lines are JSON samples, not a text`, hint);
      }
      return givenTexts(windows(tokenizer.encode(text), size, tokenizer.beginning), size);
    },
    report(found, { size }, _, own) {
      own.result(perplexityJson(found), () => perplexityText(found, size, own));
    },
  });
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
