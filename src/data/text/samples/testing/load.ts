import { refusalOf, TemporaryFolder } from "../../../../files/testing/folder.ts";
import { STORIES } from "../../../../../fixtures/stories/storyteller.ts";
import { RandloraError } from "../../../../files/errors.ts";
import { ChatTemplate } from "../../chat-template.ts";
import { loadTokenizer } from "../../load-tokenizer.ts";
import type { EncoderOptions } from "../encoder.ts";
import { loadDataSet, type LoadOptions } from "../load.ts";

export const TOKENIZER = await loadTokenizer(STORIES);
/** Ids of the storyteller's special tokens. */
export const [BOS, EOS] = [1, 2];
export const TURNS = new ChatTemplate(
  "{% for m in messages %}{{ bos_token + m.role + ': ' + m.content + eos_token }}{% endfor %}" +
    "{% if add_generation_prompt %}{{ bos_token + 'assistant: ' }}{% endif %}",
  "t.jinja",
  { bos_token: "<s>", eos_token: "</s>" },
);
export const OPTIONS: LoadOptions = {
  tokenizer: TOKENIZER,
  template: TURNS,
  endOfSequence: EOS,
  vocabularySize: 512,
  maxLength: 100,
};

/** Loads a file of these samples. */
export async function load(lines: readonly unknown[], options: Partial<LoadOptions> = {}) {
  await using folder = await TemporaryFolder.with({ "d.jsonl": lines });
  return await loadDataSet([folder.at("d.jsonl")], { ...OPTIONS, ...options });
}

/** Ids and marks of a single sample. */
export async function encode(sample: unknown, options: Partial<EncoderOptions> = {}): Promise<[number[], string]> {
  const { ids, supervised } = (await load([sample], options)).sample(0);
  return [[...ids], supervised.join("")];
}

/** Why a file is refused. */
export async function failure(
  lines: readonly unknown[] | string,
  options: Partial<LoadOptions> = {},
): Promise<RandloraError> {
  await using folder = await TemporaryFolder.with({ "d.jsonl": lines });
  const { code, message, hint } = await refusalOf(() =>
    loadDataSet([folder.at("d.jsonl")], { ...OPTIONS, ...options }),
  );
  return new RandloraError(code, message.replaceAll(`${folder.path}/`, ""), hint);
}

export const plain = (text: string) => TOKENIZER.encode(text, { special: false });
