import { join } from "node:path";

import * as v from "valibot";

import { RandloraError } from "../../files/errors.ts";
import type { ChatInput, ChatTemplate } from "./chat-template.ts";
import { HARMONY, writesHarmony } from "./harmony.ts";
import type { AddedToken } from "./tokenizer/added-tokens.ts";
import { readOptionalJsonObject } from "../../files/read-text.ts";
import type { Tokenizer } from "./tokenizer.ts";

const Ids = v.optional(
  v.nullable(
    v.union([
      v.pipe(
        v.number(),
        v.transform((id) => [id]),
      ),
      v.array(v.number()),
    ]),
  ),
  null,
);
const Config = v.looseObject({ eos_token_id: Ids });

/**
 * The ids after which generation stops: generation_config.json's `eos_token_id` (a number or a list), else config.json's;
 * the tokenizer's end-of-sequence; and the token with which the chat template ends an assistant's turn. In the harmony format an answer
 * ends with `<|return|>` or `<|call|>`, and goes on over `<|end|>`, whatever files say (GGUF's may name it).
 *
 * @throws {RandloraError} `format` when a file holds something else
 */
export async function readStopIds(
  folder: string,
  tokenizer: Tokenizer,
  template?: ChatTemplate,
): Promise<ReadonlySet<number>> {
  const ids = new Set(
    (await readEndIds(join(folder, "generation_config.json"))) ?? (await readEndIds(join(folder, "config.json"))) ?? [],
  );
  if (tokenizer.eos !== undefined) ids.add(tokenizer.eos.id);
  for (const tools of [undefined, []]) {
    const turn = template && endOfTurn(template, tokenizer.addedTokens, { tools });
    if (turn !== undefined) ids.add(turn.id);
  }
  if (template !== undefined && writesHarmony(template.source, tokenizer)) {
    const idOf = (token: string): number => tokenizer.tokenToId(token) ?? NaN;
    ids.add(idOf(HARMONY.return)).add(idOf(HARMONY.call)).delete(idOf(HARMONY.end));
  }
  return ids;
}

/**
 * The token with which a chat template ends an assistant's turn (`<|im_end|>`, `<|eot_id|>`, `<end_of_turn>`, …): the
 * added token behind the content, be there white space between or not (Llama 2: `content </s>`). A model tuned for chat
 * stops with it even where its configuration knows only the end of a document; training supervises it.
 *
 * @param addedTokens the tokenizer's: one of them ends a turn
 * @param asked tools that the conversation has, and what a template that writes the date is told
 * @returns undefined when the template writes no token there, or takes no such messages
 */
export function endOfTurn(
  template: ChatTemplate,
  addedTokens: readonly AddedToken[],
  asked: Pick<ChatInput, "tools" | "now"> = {},
): AddedToken | undefined {
  const probe = "randlora-probe";
  const messages = [
    { role: "user", content: "a" },
    { role: "assistant", content: probe },
  ];
  let text: string;
  try {
    ({ text } = template.for(asked.tools).render({ ...asked, messages }));
  } catch (error) {
    if (error instanceof RandloraError) return undefined;
    throw error;
  }
  const at = text.lastIndexOf(probe);
  const behind = at < 0 ? "" : text.slice(at + probe.length).trimStart();
  const candidates = addedTokens.filter(({ content }) => content !== "" && behind.startsWith(content));
  return candidates.toSorted((a, b) => b.content.length - a.content.length)[0];
}

/**
 * The end-of-sequence id that training appends: tokenizer_config.json's `eos_token`, else the first of config.json's
 * `eos_token_id`; undefined when neither names one.
 */
export async function readEndOfSequence(folder: string, tokenizer: Tokenizer): Promise<number | undefined> {
  return tokenizer.eos?.id ?? (await readEndIds(join(folder, "config.json")))?.[0];
}

async function readEndIds(path: string): Promise<readonly number[] | null> {
  const result = v.safeParse(Config, await readOptionalJsonObject(path));
  if (result.success) return result.output.eos_token_id;
  throw new RandloraError("format", `${path}: eos_token_id is neither a number nor a list of numbers`);
}
