import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { readFile } from "node:fs/promises";
import { expectedStories } from "../../fixtures/stories/storyteller.ts";
import { TemporaryFolder } from "../files/testing/folder.ts";
import { type BatchAnswer, generateBatch } from "./generation/batch.ts";
import { Session, type SessionOptions } from "./session.ts";
import { GREEDY, loadStories, storyTemplate } from "./testing/decoder.ts";

let stories: Awaited<ReturnType<typeof loadStories>>;
let folder: TemporaryFolder;
beforeAll(async () => {
  stories = await loadStories();
}, 120_000);
afterAll(() => stories.gpu.close());
beforeEach(async () => {
  folder = await TemporaryFolder.create();
});
afterEach(() => folder[Symbol.asyncDispose]());

const OPTIONS: SessionOptions = {
  template: storyTemplate(),
  sampling: GREEDY,
  maxTokens: 12,
  stops: [],
  context: undefined,
  shift: false,
};
const start = (options: Partial<SessionOptions> = {}) => new Session(stories, { ...OPTIONS, ...options });
const roles = (session: Session) => session.messages.map(({ role, content }) => `${role}: ${String(content)}`);

test("an answer of beams is the search's, cut at a stop text, and can be cancelled", async () => {
  const { decoder, tokenizer } = stories;
  using session = start({ beams: 3, maxTokens: 15 });
  const pieces: string[] = [];
  const reply = await session.say("Tom", { onText: (piece) => pieces.push(piece) });
  const prompt = tokenizer.encode(
    storyTemplate().render({ messages: session.messages.slice(0, 1), addGenerationPrompt: true }).text,
    { special: false },
  );
  const answers: BatchAnswer[] = [];
  await generateBatch(decoder, [prompt], { beams: 3, maxTokens: 15, stopTokens: new Set() }, (one) => {
    answers.push(one);
  });
  expect(reply).toMatchObject({ tokens: answers[0]?.tokens, promptTokens: prompt.length, finishReason: "length" });
  expect(pieces.join("")).toBe(reply.text);
  const stop = reply.text.slice(8, 14);
  using cut = start({ beams: 3, maxTokens: 15, stops: [stop] });
  expect(await cut.say("Tom")).toMatchObject({
    text: reply.text.slice(0, reply.text.indexOf(stop)),
    finishReason: "stop",
  });
  const left = new AbortController();
  left.abort();
  expect(await cut.say("Lily", { signal: left.signal })).toMatchObject({ text: "", finishReason: "cancelled" });
  expect(cut.messages).toHaveLength(2);
  const fourth = cut.say("x ".repeat(400));
  await expect(fourth).rejects.toMatchObject({ code: "data" });
});

describe("a conversation", () => {
  test("is rendered whole for each answer, and computed only where it is new", async () => {
    using session = start({ system: "Once upon a time" });
    const first = await session.say("Tom");
    const second = await session.say("Lily");
    expect(roles(session)).toEqual([
      "system: Once upon a time",
      "user: Tom",
      `assistant: ${first.text}`,
      "user: Lily",
      `assistant: ${second.text}`,
    ]);
    expect(second.cachedTokens).toBeGreaterThan(first.promptTokens - 2);
    // A session that computes everything anew says the same.
    await session.save(folder.at("chat.json"));
    using other = start();
    expect(await other.load(folder.at("chat.json"))).toBe(5);
    const again = await other.retry();
    expect(again).toMatchObject({ tokens: second.tokens, promptTokens: second.promptTokens, cachedTokens: 0 });
  });

  test("can be undone, begun anew and asked again", async () => {
    using session = start({ system: "Be kind." });
    expect([session.undo(), await session.retry()]).toEqual([undefined, undefined]);
    const { text } = await session.say("Tom");
    await session.say("Lily");
    expect(session.undo()).toBe("Lily");
    expect(roles(session)).toEqual(["system: Be kind.", "user: Tom", `assistant: ${text}`]);
    expect((await session.retry())?.text).toBe(text);
    expect(session.messages).toHaveLength(3);
    session.reset();
    expect(roles(session)).toEqual(["system: Be kind."]);
    session.system = "";
    expect(session.messages).toEqual([]);
  });

  test("a retry has another seed, and the same chat has the same answers", async () => {
    const sampling = { ...GREEDY, temperature: 1.2, seed: 7 };
    const chat = async () => {
      using session = start({ sampling });
      const first = await session.say("Tom went to the park");
      const second = await session.retry();
      return [first.text, second?.text];
    };
    const [first, second] = await chat();
    expect(second).not.toBe(first);
    expect(await chat()).toEqual([first, second]);
    // Of the largest seed the next one is 0.
    using last = start({ sampling: { ...sampling, seed: Number.MAX_SAFE_INTEGER } });
    await last.say("Tom went to the park");
    const after = await last.retry();
    using anew = start({ sampling: { ...sampling, seed: 0 } });
    expect(after?.text).toBe((await anew.say("Tom went to the park")).text);
    using session = start({ sampling: { ...sampling, seed: 100 } });
    await session.say("Once upon a time");
    session.reset();
    session.settings.sampling = sampling;
    expect((await session.say("Tom went to the park")).text).toBe(first ?? "");
  });

  test("what fails or is cancelled at once was never said", async () => {
    using session = start({ context: 40 });
    await session.say("Tom");
    const before = roles(session);
    await expect(session.say("word ".repeat(60))).rejects.toMatchObject({
      code: "data",
      message: expect.stringMatching(/^the conversation has \d+ tokens, and the context ends at 40$/),
      hint: expect.stringContaining("/reset"),
    });
    const stop = new AbortController();
    stop.abort();
    expect((await session.say("Lily", { signal: stop.signal })).finishReason).toBe("cancelled");
    await session.retry({ signal: stop.signal });
    expect(roles(session)).toEqual(before);
  });

  test("under --shift the oldest is forgotten by the model, not by the file", async () => {
    using session = start({ context: 48, shift: true, maxTokens: 8, system: "Hi" });
    for (const name of ["Tom", "Lily", "Ben", "Sue", "Max"]) await session.say(`${name} went home to sleep`);
    expect(session.messages).toHaveLength(11);
    await expect(session.say("word ".repeat(60))).rejects.toMatchObject({ code: "data" });
  });

  test("a file goes before the next message, once", async () => {
    await Bun.write(folder.at("notes.txt"), "Lily had a cat.\n");
    using session = start();
    expect(await session.attach(folder.at("notes.txt"))).toBeGreaterThan(4);
    await session.say("Tom");
    await session.say("Ben");
    expect(session.messages.filter(({ role }) => role === "user").map(({ content }) => content)).toEqual([
      "Lily had a cat.\n\nTom",
      "Ben",
    ]);
    await expect(session.attach(folder.at("nothing"))).rejects.toMatchObject({ code: "file" });
  });

  test("a file that leaves no room in the context is refused when it is read, and no part of the next message", async () => {
    await Bun.write(folder.at("long.txt"), "Lily had a cat. ".repeat(200));
    await Bun.write(folder.at("half.txt"), "Lily had a cat. ".repeat(8));
    using session = start({ context: 60 });
    const refused = {
      code: "data",
      message: expect.stringMatching(/long\.txt is not read: .* the context ends at 60$/),
    };
    await expect(session.attach(folder.at("long.txt"))).rejects.toMatchObject(refused);
    await session.attach(folder.at("half.txt"));
    // Two of them are too many.
    await expect(session.attach(folder.at("half.txt"))).rejects.toMatchObject({ code: "data" });
    await session.say("Tom");
    expect(session.messages[0]?.content).toBe(`${"Lily had a cat. ".repeat(8).trimEnd()}\n\nTom`);
  });
});

describe("files", () => {
  test("hold what OpenAI's API takes", async () => {
    using session = start({ system: "Be kind." });
    const { text } = await session.say("Tom");
    await session.save(folder.at("chat.json"));
    expect(JSON.parse(await readFile(folder.at("chat.json"), "utf8"))).toEqual({
      messages: [
        { role: "system", content: "Be kind." },
        { role: "user", content: "Tom" },
        { role: "assistant", content: text },
      ],
    });
  });

  test.each([
    ["{", "not JSON"],
    ["{}", "no list of messages"],
    ['[{"role": 1}]', "no list of messages"],
  ])("%j is refused and changes nothing", async (content, reason) => {
    await Bun.write(folder.at("chat.json"), content);
    using session = start({ system: "Be kind." });
    await expect(session.load(folder.at("chat.json"))).rejects.toMatchObject({
      code: "format",
      message: expect.stringContaining(`chat.json: ${reason}`),
    });
    expect(roles(session)).toEqual(["system: Be kind."]);
  });

  test("may be a plain list, and hold more than text", async () => {
    const messages = [
      { role: "user", content: "Tom" },
      { role: "assistant", content: null, tool_calls: [] },
    ];
    await Bun.write(folder.at("chat.json"), JSON.stringify(messages));
    using session = start();
    expect(await session.load(folder.at("chat.json"))).toBe(2);
    expect(session.messages).toEqual(messages);
  });
});

test("without a template each text is continued as it stands", async () => {
  using session = start({ template: undefined, maxTokens: 64 });
  for (const { text, greedy_ids: greedy, ids } of await expectedStories()) {
    expect(await session.say(text)).toMatchObject({ tokens: greedy, promptTokens: ids.length });
  }
  expect(() => (session.system = "Be kind.")).toThrow("needs a chat template");
});
