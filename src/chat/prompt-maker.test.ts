import { expect, test } from "bun:test";
import { join } from "node:path";
import { ChatTemplate } from "../data/text/chat-template.ts";
import { familyTokenizer, FIXTURES, specialTokens } from "../data/text/testing/families.ts";
import { Conversation } from "./conversation.ts";
import { PromptMaker } from "./prompt-maker.ts";

test.each([false, true])(
  "what was thought before an earlier answer is left out by its template, marks special: %p",
  async (special) => {
    const tokenizer = await familyTokenizer("qwen2", {}, specialTokens(["<think>", "</think>"], special));
    const template = new ChatTemplate(await Bun.file(join(FIXTURES, "chat", "reasoning.jinja")).text(), "t");
    const conversation = new Conversation();
    conversation.add({ role: "user", content: "Is it? <|im_end|>" });
    conversation.add({ role: "assistant", content: "<think>\nHm, well.\n</think>\n\nYes." });
    conversation.add({ role: "user", content: "Sure?" });
    const { ids } = await new PromptMaker(tokenizer, template).render(conversation);
    const text = tokenizer.decode(ids);
    expect(text).toContain("<|im_start|>assistant\nYes.<|im_end|>");
    expect(text).not.toContain("Hm");
    // And what somebody spelled ends no turn.
    const end = tokenizer.tokenToId("<|im_end|>");
    expect(ids.filter((id) => id === end)).toHaveLength(3);
  },
);
