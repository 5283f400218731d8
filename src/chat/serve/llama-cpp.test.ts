import { describe, expect, test } from "bun:test";
import * as v from "valibot";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { failure } from "./testing/server.ts";
import { chatAnswer, MESSAGES, serveTools } from "./testing/shapes.ts";

const served = serveTools();

describe("llama.cpp's API", () => {
  test("text to tokens and back, with pieces that add up, halves of characters as bytes", async () => {
    const content = "Once upon a 🦊";
    const { tokenizer } = served.model;
    const ids = tokenizer.encode(content, { special: false });
    expect(await served.say("/tokenize", { content })).toEqual({ tokens: ids });
    expect(await served.say("/v1/tokenize", { content, add_special: true })).toEqual({
      tokens: tokenizer.encode(content),
    });
    expect(await served.say("/detokenize", { tokens: ids })).toEqual({ content: tokenizer.decode(ids) });
    const Pieces = v.object({
      tokens: v.array(v.object({ id: v.number(), piece: v.union([v.string(), v.array(v.number())]) })),
    });
    const pieces = v.parse(Pieces, await served.say("/tokenize", { content, with_pieces: true })).tokens;
    expect(pieces.map(({ id }) => id)).toEqual(ids);
    const bytes = pieces.map(({ piece }) => Buffer.from(typeof piece === "string" ? piece : Uint8Array.from(piece)));
    expect(Buffer.concat(bytes).toString().trimStart()).toBe(content);
    expect(pieces.some(({ piece }) => typeof piece !== "string")).toBe(true);
    // Control tokens as text.
    const control = tokenizer.encode("</s>", { special: false });
    expect(await served.say("/tokenize", { content: "</s>" })).toEqual({ tokens: control });
    expect(await served.say("/tokenize", { content: "</s>", parse_special: false })).not.toEqual({ tokens: control });
  });

  test("shows a chat as the model sees it, whatever its length", async () => {
    const system = { role: "system", content: "Be kind. ".repeat(1000) };
    const all = [system, ...MESSAGES];
    const { text = "" } = served.model.template?.render({ messages: all, addGenerationPrompt: true }) ?? {};
    expect(text).toContain(system.content);
    expect(await served.say("/apply-template", { messages: all })).toEqual({ prompt: text });
    const whole = await served.client.completions.create({
      model: "storyteller",
      prompt: v.parse(v.object({ prompt: v.string() }), await served.say("/apply-template", { messages: MESSAGES }))
        .prompt,
      max_tokens: 12,
      temperature: 0,
    });
    expect(whole.choices[0]?.text).toBe(await chatAnswer(served));
  });

  test("what cannot be done is refused by name", async () => {
    for (const [path, body, words] of [
      ["/apply-template", { messages: [] }, "messages: there is none"],
      ["/apply-template", { messages: MESSAGES, tool: 1 }, "tool: not supported"],
      ["/tokenize", {}, "content: is missing"],
      ["/tokenize", { content: "a", addspecial: true }, "addspecial: not supported"],
      ["/tokenize", { content: "a b ".repeat(140_000) }, "content: has more than 262144 tokens"],
      ["/detokenize", { tokens: [1, 1e6] }, "token 1000000 is beyond the model's vocabulary"],
      ["/detokenize", { tokens: ["a"] }, "tokens.0: must be"],
      ["/detokenize", { tokens: Array.from({ length: 2 ** 18 + 1 }, () => 1) }, "262144 are allowed"],
    ] as const)
      expect(await failure(served.say(path, body))).toMatchObject({ message: expect.stringContaining(words) });
  });

  test("says what it serves, and nothing of where that lies", async () => {
    const props = await served.say("/props");
    expect(props).toMatchObject({
      default_generation_settings: { n_ctx: 1500, params: { temperature: 0, top_k: 0, n_predict: -1 } },
      total_slots: 4,
      model_path: "storyteller",
      modalities: { vision: false, audio: false },
      chat_template: served.model.template?.source,
      build_info: expect.stringMatching(/^randlora \d/),
    });
    const all = [props, await served.say("/api/tags"), await served.say("/api/ps"), await served.say("/api/show", {})];
    expect(JSON.stringify(all)).not.toContain(STORIES);
  });
});
