import { expect, spyOn, test } from "bun:test";
import { expectedStories, STORIES } from "../../../fixtures/stories/storyteller.ts";
import { DecodeLoop } from "../../chat/generation/decode-loop.ts";
import { write as writeWith } from "../../chat/testing/decoder.ts";
import { loadDecoder } from "../../models/folder/load-decoder.ts";
import { loadTokenizer } from "../../data/text/load-tokenizer.ts";
import { Gpu } from "./gpu.ts";

test("an unusual request leaves no memory behind, and usual ones make no new buffers", async () => {
  using gpu = await Gpu.open();
  const { memory, device } = gpu;
  using decoder = await loadDecoder(gpu, STORIES);
  const writer = { decoder, tokenizer: await loadTokenizer(STORIES), stopTokens: new Set<number>() };
  const [{ ids }] = await expectedStories();
  using loop = new DecodeLoop(decoder, { rows: 1, positions: 8192, keepsAnswers: true });
  const existing = () => memory.liveBytes + memory.idleBytes;
  const write = (maxTokens: number, prompt = ids) =>
    writeWith(writer, loop, prompt, { maxTokens, context: prompt.length + 64 });
  await write(4);
  await write(4);
  const before = existing();
  const long = Array.from({ length: 60 }, () => ids).flat();
  await write(4, long);
  expect(existing()).toBeGreaterThan(before + 2 ** 20);
  await write(4);
  await write(4);
  expect(existing()).toBeLessThan(before + 2 ** 18);
  const made = spyOn(device, "createBuffer");
  await write(8);
  const labels = made.mock.calls.map(([{ label }]) => label);
  made.mockRestore();
  expect(labels).toEqual([]);
});
