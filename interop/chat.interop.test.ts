import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { TEST_DEVICE } from "../src/compute/device/testing/open.ts";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as v from "valibot";
import { LanguageModel } from "../src/chat/language-model.ts";
import { DEFAULT_SAMPLING } from "../src/chat/generation/sampling.ts";
import { Session } from "../src/chat/session.ts";
import { loadChatTemplate } from "../src/data/text/chat-template.ts";
import { loadTokenizer } from "../src/data/text/load-tokenizer.ts";
import { readStopIds } from "../src/data/text/stop.ts";
import { writeAdapter } from "../src/adapters/merge/testing/models.ts";
import { answersOf, type ChatAnswer } from "./answers.ts";
import { smollm2 } from "./models.ts";
import { merge, randlora } from "./program.ts";

const ChatReport = v.object({
  text: v.string(),
  tokens: v.array(v.number()),
  prompt_tokens: v.number(),
  finish_reason: v.string(),
});

const model = await smollm2();
const { texts, chats } = await answersOf(model);
/** transformers' text is 64 tokens long and has the token that ended it; its keys and values are in f32. */
const GREEDY = { temperature: "0", "max-tokens": "64", "kv-type": "f32" };
const END = 2;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "randlora-chat-interop-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function chat(args: readonly string[]): Promise<v.InferOutput<typeof ChatReport>> {
  const greedy = Object.entries(GREEDY).flatMap(([name, value]) => [`--${name}`, value]);
  return v.parse(ChatReport, JSON.parse(await randlora(["chat", ...args, ...greedy, "--json"])));
}

/** `chat --json` for what transformers said: the end token left out. */
function reportOf({ ids, greedy_ids: greedy, greedy_text: text }: ChatAnswer) {
  const ended = greedy.at(-1) === END;
  const finish_reason = ended ? "stop" : "length";
  return { text, tokens: ended ? greedy.slice(0, -1) : greedy, prompt_tokens: ids.length, finish_reason };
}

test("the 135M model's prompts and ids are transformers'", async () => {
  const tokenizer = await loadTokenizer(model);
  const template = await loadChatTemplate(model);
  expect(chats).not.toBeEmpty();
  for (const { text, ids, greedy_ids, greedy_text } of texts) {
    expect(tokenizer.encode(text)).toEqual(ids);
    expect(tokenizer.decode(greedy_ids, { skipSpecial: true })).toBe(greedy_text);
  }
  for (const { messages, prompt, ids, greedy_ids, greedy_text } of chats) {
    const rendered = template?.render({ messages, addGenerationPrompt: true }).text ?? "";
    expect(rendered).toBe(prompt);
    expect(tokenizer.encode(rendered, { special: false })).toEqual(ids);
    expect(tokenizer.decode(greedy_ids, { skipSpecial: true })).toBe(greedy_text);
  }
  expect([...(await readStopIds(model, tokenizer, template))]).toEqual([2]);
});

describe("greedy answers are transformers', token for token", () => {
  test("one question, with and without a system message", async () => {
    const single = chats.filter(({ messages }) => messages.filter(({ role }) => role !== "system").length === 1);
    expect(single).toHaveLength(2);
    for (const one of single) {
      const system = one.messages.find(({ role }) => role === "system");
      const question = one.messages.at(-1)?.content ?? "";
      const args = system === undefined ? [] : ["--system", system.content];
      expect(await chat([model, "-p", question, ...args])).toEqual(reportOf(one));
    }
  });

  test("every conversation, several turns too, one after another on one cache", async () => {
    await using loaded = await LanguageModel.load({
      location: { folder: model, weights: undefined },
      device: TEST_DEVICE,
    });
    using session = new Session(loaded, {
      template: loaded.template,
      sampling: { ...DEFAULT_SAMPLING, temperature: 0 },
      maxTokens: 64,
      stops: [],
      context: undefined,
      shift: false,
    });
    for (const one of chats) {
      const file = join(folder, "chat.json");
      await Bun.write(file, JSON.stringify({ messages: one.messages }));
      await session.load(file);
      const { text, tokens, prompt_tokens: promptTokens, finish_reason: finishReason } = reportOf(one);
      expect(await session.retry()).toMatchObject({ text, tokens, promptTokens, finishReason });
    }
  });
});

test("chat with an adapter is chat with the merged folder, token for token", async () => {
  const shapes = {
    "self_attn.q_proj": [576, 576],
    "self_attn.k_proj": [192, 576],
    "self_attn.v_proj": [192, 576],
    "mlp.up_proj": [1536, 576],
    "mlp.down_proj": [576, 1536],
  } as const;
  const modules = Object.fromEntries(
    Array.from({ length: 30 }, (_, layer) =>
      Object.entries(shapes).map(([name, shape]) => [`model.layers.${layer}.${name}`, shape] as const),
    ).flat(),
  );
  const adapter = await writeAdapter(join(folder, "adapter"), { r: 32, alpha: 32, seed: 4, size: 0.02, modules });
  const out = join(folder, "merged");
  await merge([model, adapter, "--scale", "0.7", "--out", out]);
  const question = ["-p", "Tell me about the sea."];
  const merged = await chat([out, ...question]);
  expect(merged.tokens.length).toBeGreaterThan(3);
  expect(await chat([model, "--adapter", adapter, "--scale", "0.7", ...question])).toEqual(merged);
  expect((await chat([model, ...question])).tokens).not.toEqual(merged.tokens);
});
