import { expect, test } from "bun:test";
import { HARMONY_MARKS } from "../../data/text/harmony.ts";
import { familyTokenizer, specialTokens } from "../../data/text/testing/families.ts";
import type { Tokenizer } from "../../data/text/tokenizer.ts";
import { answerFormatOf } from "./answer-formats.ts";

const SHOWN = "<|start|>assistant<|channel|>final<|message|>";

test("a model writes the harmony format whose template shows it and whose tokenizer has it, and calls the tools that it is shown", async () => {
  const having = (tokens: readonly string[]) => familyTokenizer("qwen2", {}, specialTokens(tokens));
  const of = (template: string, tokenizer: Tokenizer) => {
    const { isText, callsTools } = answerFormatOf(template, tokenizer);
    return [isText, callsTools];
  };
  const all = await having(HARMONY_MARKS);
  expect(of(`${SHOWN}{{ tools }}`, all)).toEqual([false, true]);
  expect(of(SHOWN, all)).toEqual([false, false]);
  expect(of(`${SHOWN}{{ tools }}`, await having(HARMONY_MARKS.slice(1)))).toEqual([true, false]);
  expect(of("{{ tools }}<tool_call>", all)).toEqual([true, true]);
});
